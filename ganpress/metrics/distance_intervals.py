"""How sure FID and KID are, and whether two generators differ in them.

* FID: the bootstrap's spread about the point itself. Resampled covariances are poorer than the data's, which biases the
  resamples upwards by more than their spread, so that their percentiles hardly ever hold the truth.
* KID: Student's t over disjoint subsets, which are independent.

The intervals are about the draw of samples; none covers another training run or another judge.
"""

import numpy as np
from numpy.typing import NDArray

from ganpress.errors import DataError
from ganpress.metrics.bootstrap import LEVEL, Interval
from ganpress.metrics.frechet import CHUNK, FeatureStatistics, StatisticsAccumulator, frechet_distance
from ganpress.metrics.inputs import Floats, Matrix, as_matrix, same_columns
from ganpress.metrics.kernel import disjoint_distances
from ganpress.seeding import numpy_generator

FRECHET_RESAMPLES = 50
"""Of Fréchet distances: their standard deviation is then known to a tenth."""


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
