import numpy as np
import pytest
from scipy.stats import binom, bootstrap

from ganpress.errors import DataError
from ganpress.metrics.intervals.bootstrap import compare, mean_interval


def hits(count: int, seed: int, rate: float = 0.7) -> np.ndarray:
    return np.random.default_rng(seed).random(count) < rate


def test_it_equals_scipy():
    scores = np.random.default_rng(0).beta(2, 3, size=400)
    theirs = bootstrap((scores,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1))
    ours = mean_interval(scores, seed=0, resamples=20_000)
    assert ours.estimate == scores.mean()
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=1e-3)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=1e-3)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.03)


def test_the_truth_is_covered_as_often_as_promised():
    intervals = [mean_interval(hits(300, seed), seed, resamples=400, level=0.9) for seed in range(200)]
    covered = sum(interval.low <= 0.7 <= interval.high for interval in intervals)
    assert binom.ppf(1e-4, 200, 0.9) <= covered <= binom.ppf(1 - 1e-4, 200, 0.9)


def test_more_samples_narrow_the_interval_by_their_root():
    few, many = (mean_interval(hits(count, 0), 0) for count in (200, 20_000))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.25)


def test_equal_generators_differ_as_seldom_as_promised():
    real = [compare(hits(300, 2 * s), hits(250, 2 * s + 1), s, paired=False, resamples=400) for s in range(200)]
    assert sum(interval.excludes_zero for interval in real) <= binom.ppf(1 - 1e-4, 200, 0.05)


def test_pairs_show_what_is_lost_among_unpaired_scores():
    random = np.random.default_rng(0)
    first = random.normal(size=500)
    second = first - 0.03 + 0.05 * random.normal(size=500)
    assert compare(first, second, 0, paired=True).excludes_zero
    assert not compare(first, second, 0, paired=False).excludes_zero


def test_a_difference_changes_its_sign_with_the_order():
    first, second = hits(400, 0, 0.8), hits(400, 1, 0.6)
    one, other = compare(first, second, 0, paired=True), compare(second, first, 0, paired=True)
    assert one.excludes_zero
    assert one.estimate == -other.estimate > 0
    assert one.low == pytest.approx(-other.high, abs=0.01)


def test_equal_seeds_give_equal_intervals():
    scores = hits(100, 0)
    assert mean_interval(scores, 1) == mean_interval(scores, 1) != mean_interval(scores, 2)


def test_equal_scores_have_no_width():
    interval = mean_interval(np.full(10, 0.25), 0)
    assert (interval.low, interval.high, interval.standard_error) == (0.25, 0.25, 0)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([0.5], "found 1 samples, at least 2 are needed"),
        ([0.5, float("nan")], "hold NaN or infinity in 1 of 2"),
        ([[0.5, 0.5]], r"the scores must be one number a sample, found shape \(1, 2\)"),
    ],
)
def test_unusable_scores_are_refused(scores, words):
    with pytest.raises(DataError, match=words):
        mean_interval(scores, 0)


def test_pairs_must_be_as_many():
    with pytest.raises(DataError, match="paired scores must be as many, found 3 and 2; compare them unpaired"):
        compare([1, 2, 3], [1, 2], 0, paired=True)
