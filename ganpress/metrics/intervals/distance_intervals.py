"""Intervals of FID and KID, and of their differences between generators, from the distances' first-order terms.

Percentiles of a bootstrap would hardly ever hold the truth of FID: resampled covariances are poorer than the data's,
which biases resamples upwards by more than their spread. The intervals are about the draw of samples at these numbers:
FID's bias is not taken away, and none covers another training run or another judge.
"""

from ganpress.metrics.distributions.first_order import DistanceTerms
from ganpress.metrics.intervals.interval import Interval, normal_interval


def distance_interval(distance: float, terms: DistanceTerms) -> Interval:
    """Return a distance with its interval."""
    return normal_interval(distance, terms.standard_error)


def compare_distances(first: float, first_terms: DistanceTerms, second: float, second_terms: DistanceTerms) -> Interval:
    """Return the first generator's distance less the second's, both from the same reference.

    Raises:
        DataError: if the sets are not of one size: biases of FID differ then, and terms do not pair.
    """
    return normal_interval(first - second, first_terms.less(second_terms).standard_error)
