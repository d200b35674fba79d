"""Bootstrap intervals (Efron 1979) of means of per-sample scores, and of their differences between generators.

For PSNR, the distance to the teacher and whatever else is a mean over samples. The intervals are about the draw of the
scored samples; they cover no other training run and no other judge.

By hand: `scipy.stats.bootstrap` draws an index for each score, where most scores are equal and can be drawn together.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from ganpress.basics.seeding import numpy_generator
from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64, as_matrix
from ganpress.metrics.intervals.interval import LEVEL, Interval

RESAMPLES = 2000
RESAMPLED_NUMBERS = 2**21
"""Counts drawn at a time: 16 MiB."""


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


def _percentiles(estimate: float, resampled: Float[Float64, " resamples"], level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), float(resampled.std(ddof=1)), level)


def _resampled_means(
    scores: Float[Float64, " n"], seed: int, purpose: str, resamples: int
) -> Float[Float64, " resamples"]:
    """Means of samples drawn with replacement; equal scores are drawn together, as most are equal."""
    values, counts = np.unique(scores, return_counts=True)
    generator = numpy_generator(seed, "bootstrap", purpose)
    batch = max(1, RESAMPLED_NUMBERS // len(values))
    means = [
        generator.multinomial(len(scores), counts / len(scores), size=min(batch, resamples - start)) @ values
        for start in range(0, resamples, batch)
    ]
    return np.concatenate(means) / len(scores)


def _scores(values: ArrayLike, name: str) -> Float[Float64, " n"]:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise DataError(f"{name} must be one number a sample, found shape {column.shape}")
    return as_matrix(column[:, None], name, 2)[:, 0].astype(np.float64, copy=False)
