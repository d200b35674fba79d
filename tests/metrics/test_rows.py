"""Rows of many images are kept in a file, and give the same metrics as rows in memory."""

import numpy as np
import pytest
import torch

from ganpress.metrics.distributions import inception_score as inception
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.inception_score import inception_score
from ganpress.metrics.distributions.kernel import kernel_distance
from ganpress.metrics.neighbours.hashed import lsh_scores
from ganpress.metrics.neighbours.hashed_nearest import lsh_neighbour_scores
from ganpress.metrics.neighbours.precision_recall import neighbour_scores, neighbourhood
from ganpress.metrics.rows import Rows

RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((900, 12), dtype=np.float32)
FAKE = 1.2 * RANDOM.standard_normal((700, 12), dtype=np.float32)


def collected(rows, most_bytes=None):
    found = Rows(most_bytes)
    for start in range(0, len(rows), 50):
        found.append(rows[start : start + 50])
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("most_bytes", [0, 5000, 10**9])
def test_rows_are_what_was_appended_wherever_they_lie(dtype, most_bytes):
    rows = collected(REAL.astype(dtype), most_bytes)
    assert rows.all().dtype == dtype
    np.testing.assert_array_equal(rows.all(), REAL.astype(dtype))
    rows.append(FAKE.astype(dtype))
    np.testing.assert_array_equal(rows.all(), np.concatenate([REAL, FAKE]).astype(dtype))
    assert rows.all().flags.writeable


def test_many_rows_are_a_map_of_a_file():
    few, many = collected(REAL, 10**9).all(), collected(REAL, 1000).all()
    assert not isinstance(few.base, np.memmap)
    assert isinstance(many.base, np.memmap)
    many[0] = 0
    assert collected(REAL, 1000).all()[0].any()


def test_nothing_appended_is_nothing():
    assert len(Rows().all()) == 0


def test_metrics_of_rows_in_a_file_are_the_same():
    real, fake = (collected(rows, 1000).all() for rows in (REAL, FAKE))
    assert frechet_distance_of_features(real, fake) == frechet_distance_of_features(REAL, FAKE)
    assert kernel_distance(real, fake, 5, 100, 1) == kernel_distance(REAL, FAKE, 5, 100, 1)
    assert neighbour_scores(neighbourhood(real, 3), fake) == neighbour_scores(neighbourhood(REAL, 3), FAKE)


def test_hashes_in_a_file_give_the_same_scores(monkeypatch):
    whole = lsh_scores(REAL, FAKE, 1), lsh_neighbour_scores(REAL, FAKE, 1)
    monkeypatch.setattr("ganpress.metrics.rows.MOST_BYTES", 10_000)
    spilled = lsh_scores(REAL, FAKE, 1), lsh_neighbour_scores(REAL, FAKE, 1)
    for one, other in zip(whole, spilled, strict=True):
        assert (one.precision, one.recall, one.width) == (other.precision, other.recall, other.width)
    np.testing.assert_array_equal(whole[0].reference_scores, spilled[0].reference_scores)


def test_the_mean_of_many_projections_is_taken_in_pieces(monkeypatch):
    whole = lsh_scores(REAL, FAKE, 1)
    monkeypatch.setattr("ganpress.metrics.neighbours.hashing.MOST_BYTES", 10_000)
    monkeypatch.setattr("ganpress.metrics.neighbours.hashing.READ_ROWS", 100)
    pieces = lsh_scores(REAL, FAKE, 1)
    assert pieces.precision == pytest.approx(whole.precision, abs=1e-3)
    assert pieces.recall == pytest.approx(whole.recall, abs=1e-3)


def test_the_inception_score_of_many_rows_is_taken_in_pieces(monkeypatch):
    probabilities = torch.from_numpy(FAKE).double().softmax(dim=1).numpy()
    whole = inception_score(probabilities, 3, 1)
    monkeypatch.setattr(inception, "NUMBERS", 500)
    pieces = inception_score(probabilities, 3, 1)
    assert pieces.mean == pytest.approx(whole.mean, rel=1e-12)
    assert pieces.split_std == pytest.approx(whole.split_std, rel=1e-9)
