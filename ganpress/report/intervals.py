"""Intervals of scores, and of their differences to the teacher's, as `evaluate` measured them."""

from ganpress.report.content import Measured
from ganpress.report.notation import MetricName


def interval_of(one: Measured, metric: MetricName) -> tuple[float, float] | None:
    """Ends of the 95 % interval of a score over the draw of images; None where it was not measured."""
    low, high = (one.metrics.get(f"{metric.raw}_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def difference_of(one: Measured, metric: MetricName) -> tuple[float, float, float] | None:
    """A score minus the teacher's on the same inputs, and the ends of its 95 % interval; None without a measurement."""
    name = metric.raw.replace(metric.base, f"{metric.base}_difference", 1)
    value, low, high = (one.metrics.get(f"{name}{end}") for end in ("", "_low", "_high"))
    return None if value is None or low is None or high is None else (value, low, high)
