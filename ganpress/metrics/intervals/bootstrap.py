"""How sure a mean of per-sample scores is, and whether two generators differ in it, by the bootstrap (Efron 1979).

For LSH precision and recall, PSNR, distance to the teacher and whatever else is a mean over samples. The intervals are
about the draw of the scored samples. They cover no other training run, judge or seed of the hashes, and neither the
draw of the other set: precision's are given the reference's tables, recall's the generated set's. Balls of k nearest
neighbours are not to be resampled (a duplicate is its own nearest neighbour), but the scores of samples in them are.

By hand: `scipy.stats.bootstrap` draws an index for each score, where most scores are equal and can be drawn together.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ganpress.basics.seeding import numpy_generator
from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64, as_matrix

RESAMPLES = 2000
LEVEL = 0.95
RESAMPLED_NUMBERS = 2**21
"""Counts drawn at a time: 16 MiB."""


@dataclass(frozen=True)
class Interval:
    """A number with the range that holds the truth in a share `level` of repetitions."""

    estimate: float
    low: float
    high: float
    standard_error: float
    level: float = LEVEL

    @property
    def excludes_zero(self) -> bool:
        """Of a difference: whether it is real, rather than the luck of the draw."""
        return self.low > 0 or self.high < 0


def mean_interval(scores: ArrayLike, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """Return the mean of per-sample scores (N,) with a percentile interval.

    Raises:
        DataError: if there are fewer than two scores, or one is NaN or infinite.
    """
    column = _scores(scores, "the scores")
    return _percentiles(float(column.mean()), _resampled_means(column, seed, "first", resamples), level)


def compare(
    first: ArrayLike, second: ArrayLike, seed: int, paired: bool, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Return the mean of scores (N,) less that of others (M,) with a percentile interval.

    Args:
        first: Scores of one generator's samples, or of the reference samples in its tables.
        second: Those of the other generator.
        seed: Seed of the resamples.
        paired: Whether score i of both belongs to one input, or to one reference sample: what they have in common then
            cancels, and smaller differences show.
        resamples: Number of resamples.
        level: Share of repetitions in which the interval holds the truth.

    Raises:
        DataError: if there are fewer than two scores, one is NaN, or paired scores differ in number.
    """
    one, other = _scores(first, "the first scores"), _scores(second, "the second scores")
    if not paired:
        sides = [
            _resampled_means(scores, seed, name, resamples) for scores, name in ((one, "first"), (other, "second"))
        ]
        return _percentiles(float(one.mean() - other.mean()), sides[0] - sides[1], level)
    if len(one) != len(other):
        raise DataError(f"paired scores must be as many, found {len(one)} and {len(other)}; compare them unpaired")
    return mean_interval(one - other, seed, resamples, level)


def jackknife_error(without: Float64) -> float:
    """Standard error of a score from its values (groups,) with each group of samples left out."""
    groups = len(without)
    return float(np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum()))


def widened(interval: Interval, error: float) -> Interval:
    """Return the interval with another, independent standard error taken in."""
    from scipy.special import ndtri

    total = float(np.hypot(interval.standard_error, error))
    if interval.standard_error > 0:
        below = (interval.estimate - interval.low) / interval.standard_error
        above = (interval.high - interval.estimate) / interval.standard_error
    else:
        below = above = float(ndtri((1 + interval.level) / 2))
    return replace(
        interval,
        low=interval.estimate - below * total,
        high=interval.estimate + above * total,
        standard_error=total,
    )


def _percentiles(estimate: float, resampled: Float64, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), float(resampled.std(ddof=1)), level)


def _resampled_means(scores: Float64, seed: int, purpose: str, resamples: int) -> Float64:
    """Means (resamples,) of samples drawn with replacement; equal scores are drawn together, as most are equal."""
    values, counts = np.unique(scores, return_counts=True)
    generator = numpy_generator(seed, "bootstrap", purpose)
    batch = max(1, RESAMPLED_NUMBERS // len(values))
    means = [
        generator.multinomial(len(scores), counts / len(scores), size=min(batch, resamples - start)) @ values
        for start in range(0, resamples, batch)
    ]
    return np.concatenate(means) / len(scores)


def _scores(values: ArrayLike, name: str) -> Float64:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise DataError(f"{name} must be one number a sample, found shape {column.shape}")
    return as_matrix(column[:, None], name, 2)[:, 0].astype(np.float64, copy=False)
