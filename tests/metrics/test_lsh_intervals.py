from functools import partial

import numpy as np
import pytest
from scipy.stats import binom

from ganpress.errors import DataError
from ganpress.metrics.intervals.lsh_intervals import compare_lsh, lsh_intervals
from ganpress.metrics.intervals.random_parts import LARGEST, PARTS, RandomParts
from ganpress.metrics.neighbours.hashed import LshSettings, hash_reference, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import hashed_neighbourhood, score_hashed_neighbours

FIXED = np.random.default_rng(99)
CENTRES, LAYER = 4 * FIXED.normal(size=(10, 4)), FIXED.normal(size=(4, 16))


def manifold(count: int, seed: int, modes: int = 10) -> np.ndarray:
    random = np.random.default_rng(seed)
    latent = CENTRES[random.integers(modes, size=count)] + random.normal(size=(count, 4))
    return np.maximum(latent @ LAYER, 0).astype(np.float32)


WAYS = {
    "LSH": (partial(hash_reference, seed=0, settings=LshSettings(tables=16)), score_hashed),
    "LSH+KNN": (partial(hashed_neighbourhood, seed=0), score_hashed_neighbours),
}


class Scored:
    """Scores and parts of sets against one reference."""

    def __init__(self, way, reference):
        prepare, self._score = WAYS[way]
        self._whole, self._parts = prepare(reference), RandomParts(reference, 0, prepare, self._score)

    def __call__(self, fake):
        return self._score(self._whole, fake), self._parts.scores(fake)


@pytest.fixture(params=WAYS)
def scored(request):
    return Scored(request.param, manifold(400, 0))


@pytest.mark.parametrize("way", ["LSH", pytest.param("LSH+KNN", marks=pytest.mark.slow)])
def test_intervals_hold_the_truth_over_draws_of_both_sets(way):
    """The jackknife and bootstrap of before held precision's in half of the draws: the reference's were left out."""
    sets = [Scored(way, manifold(200, 2 * seed))(manifold(200, 2 * seed + 1, modes=9)) for seed in range(20)]
    intervals = [lsh_intervals(*one) for one in sets]
    for side in ("precision", "recall"):
        truth = np.mean([getattr(scores, side) for scores, _ in sets])
        held = sum(getattr(one, side).low <= truth <= getattr(one, side).high for one in intervals)
        assert held >= binom.ppf(1e-3, 20, 0.95), (side, held)
        spread = np.std([getattr(scores, side) for scores, _ in sets], ddof=1)
        found = np.mean([getattr(one, side).standard_error for one in intervals])
        assert 0.7 * spread < found < 2 * spread, (side, found, spread)


def test_lost_modes_are_a_real_difference_and_equal_generators_differ_in_none(scored):
    whole, twin, half = (scored(manifold(400, seed, modes)) for seed, modes in ((1, 10), (2, 10), (1, 6)))
    difference = compare_lsh(*whole, *half)
    assert difference.recall.low > 0
    assert difference.recall.estimate == pytest.approx(whole[0].recall - half[0].recall)
    assert not compare_lsh(*whole, *twin).recall.excludes_zero
    assert not compare_lsh(*whole, *twin).precision.excludes_zero


def test_pairs_narrow_both_differences(scored):
    fake = manifold(400, 1)
    own, near, apart = (scored(one) for one in (fake, fake + np.float32(0.01), manifold(400, 3)))
    for side in ("precision", "recall"):
        paired, unpaired = (getattr(compare_lsh(*own, *other), side) for other in (near, apart))
        assert paired.standard_error < 0.5 * unpaired.standard_error


def test_scores_of_other_numbers_of_samples_are_refused(scored):
    with pytest.raises(DataError, match="scores of 400 and 300 samples do not compare; draw equal numbers"):
        compare_lsh(*scored(manifold(400, 1)), *scored(manifold(300, 1)))


def test_parts_are_bounded_and_too_small_ones_say_nothing():
    seen = []
    parts = RandomParts(np.zeros((5000, 2), np.float32), 0, len, lambda table, fake: seen.append((table, len(fake))))
    with pytest.raises(AttributeError):
        parts.scores(np.zeros((2500, 2), np.float32))
    assert set(seen) == {(LARGEST, LARGEST // 2)}
    assert len(seen) == PARTS
    assert parts.scores(np.zeros((20, 2), np.float32)) is None


def test_an_interval_of_a_share_stays_inside_it(scored):
    found = lsh_intervals(*scored(manifold(400, 0)))
    assert 0 <= found.precision.low <= found.precision.high <= 1
