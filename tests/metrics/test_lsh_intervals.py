import numpy as np
import pytest
from scipy.stats import binom

from ganpress.errors import DataError
from ganpress.metrics.intervals.lsh_intervals import compare_lsh, lsh_intervals
from ganpress.metrics.neighbours.hashed import LshSettings, hash_reference, lsh_scores, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import hashed_neighbourhood, score_hashed_neighbours

FIXED = np.random.default_rng(99)
CENTRES, LAYER = 4 * FIXED.normal(size=(10, 4)), FIXED.normal(size=(4, 16))


def manifold(count: int, seed: int, modes: int = 10) -> np.ndarray:
    random = np.random.default_rng(seed)
    latent = CENTRES[random.integers(modes, size=count)] + random.normal(size=(count, 4))
    return np.maximum(latent @ LAYER, 0).astype(np.float32)


@pytest.fixture(scope="module")
def hashed():
    return hash_reference(manifold(600, 0), 0, LshSettings(tables=16))


def test_equal_generators_seldom_differ(hashed):
    # by the reference samples alone, about a third of these pairs would differ in recall
    scores = [score_hashed(hashed, manifold(600, seed)) for seed in range(1, 61)]
    pairs = [compare_lsh(one, other, 0, paired=False) for one, other in zip(scores[::2], scores[1::2], strict=True)]
    allowed = binom.ppf(1 - 1e-3, 30, 0.05)
    assert sum(pair.precision.excludes_zero for pair in pairs) <= allowed
    assert sum(pair.recall.excludes_zero for pair in pairs) <= allowed


def test_the_interval_of_recall_covers_the_draw_of_the_generated_set(hashed):
    scores = [score_hashed(hashed, manifold(600, seed)) for seed in range(1, 21)]
    spread = np.std([one.recall for one in scores], ddof=1)
    assert lsh_intervals(scores[0], 0).recall.standard_error > spread


def test_lost_modes_are_a_real_difference_of_recall(hashed):
    whole, half = (score_hashed(hashed, manifold(600, 1, modes)) for modes in (10, 6))
    difference = compare_lsh(whole, half, 0, paired=False)
    assert difference.recall.low > 0
    assert difference.recall.estimate == pytest.approx(whole.recall - half.recall)


def test_pairs_narrow_both_differences(hashed):
    fake = manifold(600, 1)
    scores = [score_hashed(hashed, fake), score_hashed(hashed, fake + np.float32(0.01))]
    near, far = (compare_lsh(*scores, 0, paired) for paired in (True, False))
    assert near.precision.standard_error < 0.5 * far.precision.standard_error
    assert near.recall.standard_error < 0.5 * far.recall.standard_error


def test_scores_against_two_references_are_refused(hashed):
    other = lsh_scores(manifold(500, 0), manifold(600, 1), 0)
    with pytest.raises(DataError, match="paired scores must be as many, found 600 and 500"):
        compare_lsh(score_hashed(hashed, manifold(600, 1)), other, 0, paired=False)


def test_intervals_with_neighbours_cover_the_draw_and_find_lost_modes():
    balls = hashed_neighbourhood(manifold(600, 0), 0)
    scores = [score_hashed_neighbours(balls, manifold(600, seed)) for seed in range(1, 21)]
    pairs = [compare_lsh(one, other, 0, paired=False) for one, other in zip(scores[::2], scores[1::2], strict=True)]
    allowed = binom.ppf(1 - 1e-3, 10, 0.05)
    assert sum(pair.precision.excludes_zero for pair in pairs) <= allowed
    assert sum(pair.recall.excludes_zero for pair in pairs) <= allowed
    found, spread = lsh_intervals(scores[0], 0).recall, np.std([one.recall for one in scores], ddof=1)
    assert found.standard_error > spread
    assert found.low < scores[0].recall < found.high
    half = score_hashed_neighbours(balls, manifold(600, 1, modes=6))
    assert compare_lsh(half, scores[0], 0, paired=False).recall.high < 0
