"""Reads the intervals of scores and of their differences to the teacher's that `evaluate` measured."""

from ganpress.report.content import Measured
from ganpress.report.notation import MetricName


def interval_of(one: Measured, metric: MetricName) -> tuple[float, float] | None:
    """Return the 95 % interval of a score over the draw of images; None if it was not measured."""
    low, high = (one.metrics.get(f"{metric.raw}_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def difference_of(one: Measured, metric: MetricName) -> tuple[float, float, float] | None:
    """Return a score minus the teacher's on the same inputs, and its 95 % interval; None if it was not measured."""
    name = metric.raw.replace(metric.base, f"{metric.base}_difference", 1)
    value, low, high = (one.metrics.get(f"{name}{end}") for end in ("", "_low", "_high"))
    return None if value is None or low is None or high is None else (value, low, high)
