"""How sure a score is, and whether two generators differ.

Three kinds of score need three kinds of interval:

* A mean of scores of single samples (LSH precision and recall, PSNR, distance to the teacher): percentiles of the
  bootstrap (Efron 1979). Sets of k-NN balls must not be resampled: a duplicate is its own nearest neighbour.
* FID: the bootstrap's spread about the point itself. Resampled covariances are poorer than the data's, which biases the
  resamples upwards by more than their spread, so that their percentiles hardly ever hold the truth.
* KID: Student's t over disjoint subsets, which are independent.

All intervals are about the draw of samples. None covers another training run, another judge, or, in LSH scores, another
seed of the hashes; scores of reference samples are taken in the tables of the one generated set that is there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ganpress.errors import DataError
from ganpress.metrics.frechet import CHUNK, FeatureStatistics, StatisticsAccumulator, frechet_distance
from ganpress.metrics.inputs import Float64, Floats, Matrix, as_matrix, same_columns
from ganpress.metrics.kernel import disjoint_distances
from ganpress.seeding import numpy_generator

RESAMPLES = 2000
"""Of means, which are cheap."""
FRECHET_RESAMPLES = 50
"""Of Fréchet distances: their standard deviation is then known to a tenth."""
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


def frechet_interval(
    reference: Matrix, generated: Matrix, seed: int, resamples: int = FRECHET_RESAMPLES, level: float = LEVEL
) -> Interval | None:
    """Return the Fréchet distance with an interval of a normal distribution about it; both sets are resampled.

    It is about the distance at these numbers of samples, whose bias it does not take away. None where a set has fewer
    samples than features: the covariance of a resample lacks dimensions, and its spread says nothing.

    Raises:
        DataError: if a set has fewer than 2 samples, holds NaN, or the numbers of features differ.
    """
    return _frechet([as_matrix(generated, "the generated features", 2)], reference, seed, True, resamples, level)


def compare_frechet(
    reference: Matrix,
    first: Matrix,
    second: Matrix,
    seed: int,
    paired: bool,
    resamples: int = FRECHET_RESAMPLES,
    level: float = LEVEL,
) -> Interval | None:
    """Return the Fréchet distance of `first` less that of `second`; the reference is resampled for both alike.

    Args:
        reference: Features (N, F).
        first: Features (M, F).
        second: Features (K, F).
        seed: Seed of the resamples.
        paired: Whether row i of both was drawn from one input; then K = M.
        resamples: Number of resamples.
        level: Share of repetitions in which the interval holds the truth.

    Raises:
        DataError: as `frechet_interval`; and if the sets are not of one size, as their biases would differ.
    """
    sets = [as_matrix(first, "the first features", 2), as_matrix(second, "the second features", 2)]
    if len(sets[0]) != len(sets[1]):
        raise DataError(f"FID of {len(sets[0])} and {len(sets[1])} samples differ by their bias; draw equal numbers")
    return _frechet(sets, reference, seed, paired, resamples, level)


def compare_kernel(
    reference: Matrix, first: Matrix, second: Matrix, subset_size: int, seed: int, level: float = LEVEL
) -> Interval:
    """Return the kernel distance of `first` less that of `second`, over disjoint subsets with the same real samples.

    Rows of both that belong to one input fall into the same subset, so pairs need not be announced.

    Raises:
        DataError: as `kernel_distance`, and if the data do not allow two disjoint subsets.
    """
    from scipy.stats import t

    sides = [disjoint_distances(reference, generated, subset_size, seed) for generated in (first, second)]
    count = min(map(len, sides))
    if count < 2:
        raise DataError(
            f"an interval needs 2 disjoint subsets of {subset_size} samples, found {count}; lower kid_subset_size or "
            "give more images"
        )
    differences = sides[0][:count] - sides[1][:count]
    error = float(differences.std(ddof=1) / np.sqrt(count))
    return _symmetric(float(differences.mean()), error, float(t.ppf((1 + level) / 2, count - 1)), level)


def _frechet(
    sets: list[Floats], reference: Matrix, seed: int, paired: bool, resamples: int, level: float
) -> Interval | None:
    """Interval of the first set's distance, less the second's if there is one."""
    from scipy.stats import norm

    real = as_matrix(reference, "the reference features", 2)
    for each in sets:
        same_columns(real, each)
    if min(len(real), *map(len, sets)) < real.shape[1]:
        return None
    generator = numpy_generator(seed, "bootstrap", "frechet")

    def distance(resampled: bool) -> float:
        def rows(count: int) -> NDArray[np.int64]:
            return generator.integers(count, size=count) if resampled else np.arange(count)

        statistics = _statistics(real, rows(len(real)))
        common = rows(len(sets[0]))
        drawn = [common, *(common if paired else rows(len(other)) for other in sets[1:])]
        values = [
            frechet_distance(statistics, _statistics(each, chosen)) for each, chosen in zip(sets, drawn, strict=True)
        ]
        return values[0] - sum(values[1:])

    error = float(np.std([distance(resampled=True) for _ in range(resamples)], ddof=1))
    return _symmetric(distance(resampled=False), error, float(norm.ppf((1 + level) / 2)), level)


def _statistics(features: Floats, rows: NDArray[np.int64]) -> FeatureStatistics:
    accumulator = StatisticsAccumulator()
    for start in range(0, len(rows), CHUNK):
        accumulator.update(features[rows[start : start + CHUNK]])
    return accumulator.statistics()


def _symmetric(estimate: float, error: float, quantile: float, level: float) -> Interval:
    return Interval(estimate, estimate - quantile * error, estimate + quantile * error, error, level)


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
    return as_matrix(column.reshape(len(column), -1), name, 2)[:, 0].astype(np.float64, copy=False)
