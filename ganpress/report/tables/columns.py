"""Columns of the report's tables: heading, protocol, and how values are found and formatted."""

from collections.abc import Callable
from dataclasses import dataclass

from ganpress.report.content import Measured, ReportInputs
from ganpress.report.notation import (
    MetricName,
    Writer,
    write_count,
    write_ratio,
    write_score,
    write_share,
)
from ganpress.report.tables.grid import Heading


@dataclass(frozen=True)
class Column:
    """A column: its heading, and how a generator's value is found and formatted."""

    heading: Heading
    write: Writer
    value: Callable[[Measured], float | None]
    best: float | None = None
    """The best value among all rows, if one direction is better."""


def writer_for(name: str) -> Writer:
    """Return the format of a number by the unit in its name."""
    if name.startswith("macs") or name.endswith("_bytes"):
        return write_count
    return write_share if name.endswith("_retained") else lambda value: f"{value:.4g}"


def latency_protocol(inputs: ReportInputs) -> str:
    """Return how latency was measured: batch, threads, rounds."""
    threads = {one.metrics.get("latency_threads") for one in inputs.generators} - {None}
    protocol = "batch 1"
    for count in sorted(value for value in threads if value is not None):
        protocol += f", {count:g} thread{'s' if count != 1 else ''}"
    return f"{protocol}, {inputs.params.evaluate.latency_repeats} rounds"


def measured_column(name: str, title: str, protocol: str, meaning: str, write: Writer) -> Column:
    """Return the column of a measured number."""
    return Column(Heading(name, title, protocol, meaning), write, lambda one: one.metrics.get(name))


def ratio_column(inputs: ReportInputs, name: str, title: str) -> Column:
    """Return the column of the teacher's cost divided by the generator's."""
    teacher = inputs.teacher.metrics.get(name)

    def value(one: Measured) -> float | None:
        own = one.metrics.get(name)
        return teacher / own if teacher and own else None

    return Column(Heading(f"{name}_ratio", title, "teacher / own", f"ratio of {name}", True), write_ratio, value)


def speed_up_column() -> Column:
    """Return the column of the teacher's latency divided by the generator's, from the same run."""
    heading = Heading("latency_ratio", "faster", "teacher p50 / own", "speed-up in the same run", True)
    return Column(heading, write_ratio, lambda one: one.metrics.get("latency_ratio"))


def quality_column(inputs: ReportInputs, metric: MetricName) -> Column:
    """Return the column of a quality metric, with its best value."""
    values = [one.metrics[metric.raw] for one in inputs.generators if metric.raw in one.metrics]
    best = {"higher": max, "lower": min}.get(metric.direction)
    title = f"{metric.title} {metric.arrow}".strip()
    heading = Heading(metric.raw, title, metric.protocol, metric.meaning, metric.direction == "higher")
    return Column(heading, write_score, lambda one: one.metrics.get(metric.raw), best(values) if best else None)


def retained_column(inputs: ReportInputs, metric: MetricName) -> Column:
    """Return the column of the share of the teacher's score that is kept."""
    rule = "own / teacher" if metric.direction == "higher" else "teacher / own"
    heading = Heading("retained", "retained", f"{rule} {metric.title}", "share of the teacher's score", True)
    return Column(heading, write_share, lambda one: inputs.retained(one, metric))
