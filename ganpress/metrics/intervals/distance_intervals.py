"""How sure FID and KID are, and whether two generators differ in them.

* FID: the distance's first-order terms (`ganpress.metrics.distributions.frechet_error`), normal about the point itself.
  Percentiles of a bootstrap would hardly ever hold the truth: resampled covariances are poorer than the data's, which
  biases resamples upwards by more than their spread.
* KID: Student's t over disjoint subsets, which are independent.

The intervals are about the draw of samples; none covers another training run or another judge.
"""

import numpy as np

from ganpress.errors import DataError
from ganpress.metrics.distributions.frechet_error import FrechetTerms
from ganpress.metrics.distributions.kernel import KernelDistance
from ganpress.metrics.intervals.bootstrap import LEVEL, Interval


def frechet_interval(distance: float, terms: FrechetTerms, level: float = LEVEL) -> Interval:
    """Return a Fréchet distance with its interval, at these numbers of samples: their bias is not taken away."""
    return _normal(distance, terms.standard_error, level)


def compare_frechet(
    first: float, first_terms: FrechetTerms, second: float, second_terms: FrechetTerms, level: float = LEVEL
) -> Interval:
    """Return the first generator's distance less the second's, both from the same reference.

    Sample i of both belongs to one input, so that what the two have in common cancels; where inputs were drawn apart,
    it does no harm.

    Raises:
        DataError: if the sets are not of one size, as their biases would differ.
    """
    _same_size(len(first_terms.generated), len(second_terms.generated))
    _same_size(len(first_terms.reference), len(second_terms.reference))
    difference = FrechetTerms(
        first_terms.reference - second_terms.reference, first_terms.generated - second_terms.generated
    )
    return _normal(first - second, difference.standard_error, level)


def kernel_interval(distance: KernelDistance, level: float = LEVEL) -> Interval | None:
    """Return a kernel distance with its interval; None of a single disjoint subset, whose error is not known."""
    error = distance.standard_error
    return None if error is None else _student(distance.mean, error, len(distance.disjoint), level)


def compare_kernel(first: KernelDistance, second: KernelDistance, level: float = LEVEL) -> Interval | None:
    """Return the first generator's distance less the second's, over disjoint subsets; None where there is only one.

    Both must be of one seed, so that subset b holds the same real samples and the same inputs.

    Raises:
        DataError: if they have different numbers of disjoint subsets.
    """
    count = len(first.disjoint)
    if count != len(second.disjoint):
        raise DataError(
            f"kernel distances over {count} and {len(second.disjoint)} disjoint subsets do not pair; draw equal numbers"
        )
    if count < 2:
        return None
    differences = np.subtract(first.disjoint, second.disjoint)
    error = float(differences.std(ddof=1) / np.sqrt(count))
    return _student(float(differences.mean()), error, count, level)


def _same_size(first: int, second: int) -> None:
    if first != second:
        raise DataError(f"FID of {first} and {second} samples differ by their bias; draw equal numbers")


def _normal(estimate: float, error: float, level: float) -> Interval:
    from scipy.special import ndtri

    return _symmetric(estimate, error, float(ndtri((1 + level) / 2)), level)


def _student(estimate: float, error: float, count: int, level: float) -> Interval:
    """The interval of a mean of `count` independent values, whose spread is as uncertain as they are few."""
    from scipy.special import stdtrit

    return _symmetric(estimate, error, float(stdtrit(count - 1, (1 + level) / 2)), level)


def _symmetric(estimate: float, error: float, quantile: float, level: float) -> Interval:
    return Interval(estimate, estimate - quantile * error, estimate + quantile * error, error, level)
