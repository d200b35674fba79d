"""Intervals of a generator's scores and of its differences to the teacher, by names of metrics.

`<metric>_low` and `_high` are the ends of a 95 % interval; `<family>_difference_…` is the generator's score less the
teacher's on the same inputs, with its own ends. A difference is real where its interval excludes zero. The intervals
are about the draw of images; they cover no other training run and no other judge.
"""

from collections.abc import Mapping

from ganpress.metrics.intervals.interval import Interval
from ganpress.metrics.scores import Comparison, Scores
from ganpress.registries import METRICS


def interval_metrics(own: Scores, teacher: Scores) -> dict[str, float]:
    """Return the ends of all intervals, and the differences to the teacher with theirs; none of the teacher to itself.

    Raises:
        DataError: if the two were not scored on as many inputs, or against different real images.
    """
    numbers: dict[str, float] = {}
    for metric in METRICS.values():
        found = metric.interval(own) if metric.interval else None
        if found is not None:
            numbers |= _ends(own.full_name(metric), found)
    if own is teacher:
        return numbers
    for name, difference in score_differences(own, teacher).items():
        full = own.full_name(METRICS[name], "difference")
        numbers |= {full: difference.estimate} | _ends(full, difference)
    return numbers


def score_differences(own: Scores, other: Scores) -> Mapping[str, Interval]:
    """Return, by family (`fid`, `recall_lsh`, …), a generator's score less that of another, drawn from the same inputs.

    Raises:
        DataError: as `interval_metrics`.
    """
    pair = Comparison(own, other)
    differences = {name: metric.difference(pair) for name, metric in METRICS.items() if metric.difference}
    return {name: difference for name, difference in differences.items() if difference is not None}


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}
