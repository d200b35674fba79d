"""Distances between the features of generated and of real images."""

import math
from typing import TYPE_CHECKING

from ganpress.metrics.metric import Metric

if TYPE_CHECKING:
    from ganpress.metrics.distributions.first_order import DistanceTerms
    from ganpress.metrics.intervals.interval import Interval
    from ganpress.metrics.samples.sample import QuickSample
    from ganpress.metrics.scores import Comparison, Scores

KID_SUBSETS, KID_SUBSET_SIZE = 10, 1000
"""Number and size of the subsets of the quick kernel distance; smaller sets are compared completely."""


def _frechet_interval(own: "Scores") -> "Interval | None":
    return _interval(own.fid, own.fid_terms)


def _frechet_difference(pair: "Comparison") -> "Interval | None":
    return _difference(pair.own.fid, pair.own.fid_terms, pair.other.fid, pair.other.fid_terms)


def _kernel_interval(own: "Scores") -> "Interval | None":
    return _interval(own.kid, own.kid_terms)


def _kernel_difference(pair: "Comparison") -> "Interval | None":
    return _difference(pair.own.kid, pair.own.kid_terms, pair.other.kid, pair.other.kid_terms)


def _interval(distance: float, terms: "DistanceTerms | None") -> "Interval | None":
    from ganpress.metrics.intervals.distance_intervals import distance_interval

    return None if terms is None else distance_interval(distance, terms)


def _difference(
    first: float, first_terms: "DistanceTerms | None", second: float, second_terms: "DistanceTerms | None"
) -> "Interval | None":
    from ganpress.metrics.intervals.distance_intervals import compare_distances

    if first_terms is None or second_terms is None:
        return None
    return compare_distances(first, first_terms, second, second_terms)


def _error(terms: "DistanceTerms | None") -> float | None:
    return None if terms is None else terms.standard_error


def _quick_frechet(sample: "QuickSample") -> float:
    from ganpress.metrics.distributions.frechet import FeatureStatistics, features_to_statistics, frechet_distance

    assert isinstance(sample.real, FeatureStatistics)
    return frechet_distance(features_to_statistics(sample.seen().features), sample.real)


def _quick_kernel(sample: "QuickSample") -> float:
    from ganpress.metrics.distributions.frechet import FeatureStatistics
    from ganpress.metrics.distributions.kernel import kernel_distance

    assert sample.real is not None
    assert not isinstance(sample.real, FeatureStatistics)
    features = sample.seen().features
    size = min(KID_SUBSET_SIZE, len(sample.real), len(features))
    return kernel_distance(sample.real, features, KID_SUBSETS, size, sample.seed)


FID = Metric(
    "fid",
    "FID",
    "Fréchet distance between generated and real features",
    "lower",
    needs=("judge", "real"),
    read=lambda own, _: own.fid,
    spreads={"error": lambda own: _error(own.fid_terms)},
    has_share=True,
    interval=_frechet_interval,
    difference=_frechet_difference,
    quick=_quick_frechet,
    real_side="statistics",
    beware="FID falls with the number of images ({images} here, against all {real}): its bias goes as 1/n and is "
    "larger than its spread. Compare only numbers of equal n, split and judge, and never with published FIDs.",
)
KID = Metric(
    "kid",
    "KID",
    "kernel distance (unbiased MMD²) between generated and real features",
    "lower",
    (-math.inf, math.inf),
    needs=("judge", "real"),
    read=lambda own, _: own.kid,
    spreads={"error": lambda own: _error(own.kid_terms)},
    interval=_kernel_interval,
    difference=_kernel_difference,
    quick=_quick_kernel,
)
