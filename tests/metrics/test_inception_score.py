import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from ganpress.errors import DataError
from ganpress.metrics.distributions.inception_score import inception_score


@pytest.fixture
def logits():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(600, 10))) * 2


def test_it_equals_torch_fidelity_on_one_split(logits):
    expected = isc_features_to_metric(logits, splits=1, shuffle=False)["inception_score_mean"]
    assert inception_score(logits.softmax(1), splits=1, seed=0).mean == pytest.approx(expected, rel=1e-12)


def test_splits_lie_close_to_torch_fidelity_whose_shuffle_differs(logits):
    theirs = isc_features_to_metric(logits, splits=10)
    ours = inception_score(logits.softmax(1), splits=10, seed=0)
    assert abs(ours.mean - theirs["inception_score_mean"]) < theirs["inception_score_std"]


def test_confident_and_balanced_classes_reach_the_number_of_classes():
    score = inception_score(np.eye(10)[np.arange(200) % 10], splits=1, seed=0)
    assert score.mean == pytest.approx(10)
    assert score.split_std == 0


def test_one_class_only_scores_one():
    assert inception_score(np.tile(np.eye(4)[0], (50, 1)), splits=5, seed=0).mean == pytest.approx(1)


def test_dropping_half_of_the_classes_halves_a_confident_score():
    assert inception_score(np.eye(10)[np.arange(200) % 5], splits=1, seed=0).mean == pytest.approx(5)


def test_the_order_of_images_does_not_matter_on_one_split(logits):
    table = logits.softmax(1)
    assert inception_score(table.flip(0), 1, 0).mean == pytest.approx(inception_score(table, 1, 0).mean, rel=1e-12)


def test_the_same_seed_gives_the_same_score_and_another_seed_another(logits):
    table = logits.softmax(1)
    assert inception_score(table, 10, 7) == inception_score(table, 10, 7)
    assert inception_score(table, 10, 7) != inception_score(table, 10, 8)


def test_logits_are_refused(logits):
    with pytest.raises(DataError, match=r"sum to 1 in each row.*apply softmax"):
        inception_score(logits, 10, 0)


def test_fewer_images_than_splits_are_refused():
    with pytest.raises(DataError, match="3 images cannot fill 10 splits"):
        inception_score(np.eye(3), 10, 0)


def test_nan_is_refused():
    table = np.eye(10)
    table[3, 3] = np.nan
    with pytest.raises(DataError, match="class probabilities hold NaN or infinity in 1 of 10"):
        inception_score(table, 1, 0)
