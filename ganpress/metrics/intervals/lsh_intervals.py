"""Intervals of precision and recall by hashing, and of their differences between generators, from random parts."""

from dataclasses import dataclass, replace

from jaxtyping import Float

from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.intervals.interval import Interval, student_interval
from ganpress.metrics.intervals.random_parts import PartScores, TwoSided


@dataclass(frozen=True)
class LshIntervals:
    """Intervals of one generator's scores, or of the differences of two, over draws of both sets; given the seed."""

    precision: Interval
    recall: Interval


def lsh_intervals(scores: TwoSided, parts: PartScores) -> LshIntervals:
    """Return intervals of both scores, inside [0, 1]."""
    found = _intervals(scores.precision, parts.precision, scores.recall, parts.recall, parts)
    return LshIntervals(_share(found.precision), _share(found.recall))


def compare_lsh(first: TwoSided, first_parts: PartScores, second: TwoSided, second_parts: PartScores) -> LshIntervals:
    """Return the first generator's scores less the second's, both taken against the same hashed reference.

    Where sample i of both was drawn from one input, what they have in common cancels, and smaller differences show.

    Raises:
        DataError: if the sets are not of one size.
    """
    for mine, theirs in zip(first_parts.sizes, second_parts.sizes, strict=True):
        if mine != theirs:
            raise DataError(f"scores of {mine} and {theirs} samples do not compare; draw equal numbers")
    return _intervals(
        first.precision - second.precision,
        first_parts.precision - second_parts.precision,
        first.recall - second.recall,
        first_parts.recall - second_parts.recall,
        first_parts,
    )


def _intervals(
    precision: float,
    precision_parts: Float[Float64, " parts"],
    recall: float,
    recall_parts: Float[Float64, " parts"],
    parts: PartScores,
) -> LshIntervals:
    sides = ((precision, precision_parts), (recall, recall_parts))
    return LshIntervals(*(student_interval(value, parts.error(found), len(found)) for value, found in sides))


def _share(interval: Interval) -> Interval:
    return replace(interval, low=max(interval.low, 0.0), high=min(interval.high, 1.0))
