import numpy as np
import pytest

from ganpress.data.prepared.image_choice import first_of_each_class, rank

LABELS = np.repeat(np.arange(3), [50, 30, 20])
RANKS = np.array([rank(1, "split", f"image{index}") for index in range(100)])


@pytest.mark.parametrize("count", [0, 1, 10, 33, 99, 100])
def test_the_asked_number_is_marked_exactly(count):
    assert first_of_each_class(RANKS, LABELS, count).sum() == count


def test_more_than_all_marks_all():
    assert first_of_each_class(RANKS, LABELS, 500).all()


def test_classes_keep_their_shares():
    chosen = LABELS[first_of_each_class(RANKS, LABELS, 10)]
    assert np.bincount(chosen).tolist() == [5, 3, 2]


def test_order_of_images_does_not_matter():
    shuffle = np.random.default_rng(0).permutation(100)
    mixed = first_of_each_class(RANKS[shuffle], LABELS[shuffle], 40)
    np.testing.assert_array_equal(mixed, first_of_each_class(RANKS, LABELS, 40)[shuffle])


def test_one_image_more_moves_no_more_than_rounding():
    before = first_of_each_class(RANKS[:-1], LABELS[:-1], 30)
    after = first_of_each_class(RANKS, LABELS, 30)[:-1]
    assert (before != after).sum() <= 2


def test_another_seed_chooses_others():
    other = np.array([rank(2, "split", f"image{index}") for index in range(100)])
    assert (first_of_each_class(other, LABELS, 30) != first_of_each_class(RANKS, LABELS, 30)).any()


def test_nothing_is_chosen_of_nothing():
    assert first_of_each_class(np.zeros(0, np.int64), np.zeros(0, np.int64), 3).shape == (0,)
