"""Tables of the uncertainty of scores, and of the significant differences to the teacher."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ganpress.registries import METRICS
from ganpress.report.content import GROUPS, Measured, ReportInputs
from ganpress.report.figures.quality_figures import GROUP_NAMES
from ganpress.report.intervals import difference_of, interval_of
from ganpress.report.notation import MISSING, MetricName, write_score
from ganpress.report.tables.grid import Cell, Heading, Row, RowGroup, Table
from ganpress.report.tables.result_tables import ordered


def certainty_table(inputs: ReportInputs) -> Table | None:
    """Return scores and differences to the teacher with intervals, bold if significant; None without intervals."""
    bases = [base for base, metric in METRICS.items() if metric.interval is not None]
    metrics = [metric for base in bases if (metric := inputs.metric(base)) is not None]
    metrics = [metric for metric in metrics if any(interval_of(one, metric) for one in inputs.generators)]
    if not metrics:
        return None
    columns = [column for metric in metrics for column in _columns(metric)]
    columns = [one for one in columns if any(one.cell(each).value is not None for each in inputs.generators)]
    groups = [
        RowGroup(GROUP_NAMES[group], [_row(inputs, one, columns) for one in ordered(inputs, group)])
        for group in GROUPS
        if inputs.in_group(group)
    ]
    caption = (
        "95 % intervals over the draw of images, and differences to the teacher on the same inputs: bold if the "
        f"interval excludes zero{_ceilings(inputs)}"
    )
    return Table("certainty", caption, [column.heading for column in columns], groups)


@dataclass(frozen=True)
class _Column:
    heading: Heading
    cell: Callable[[Measured], Cell]


def _columns(metric: MetricName) -> list[_Column]:
    """Return the columns of a score with its interval, and of its difference to the teacher."""
    more_first = metric.direction == "higher"
    own = Heading(metric.raw, f"{metric.title} {metric.arrow}", metric.protocol, metric.meaning, more_first)
    gap = Heading(f"{metric.raw}_difference", "own − teacher", metric.title, "real where bold", more_first)
    return [
        _Column(own, partial(_with_interval, metric=metric)),
        _Column(gap, partial(_difference, metric=metric)),
    ]


def _row(inputs: ReportInputs, one: Measured, columns: Sequence[_Column]) -> Row:
    cells = [column.cell(one) for column in columns]
    return Row(one.reference, one.group, cells, inputs.networks.get(one.reference, ""))


def _with_interval(one: Measured, metric: MetricName) -> Cell:
    value, ends = one.metrics.get(metric.raw), interval_of(one, metric)
    if value is None:
        return Cell(MISSING, None)
    return Cell(write_score(value) + (_written(*ends) if ends else ""), value)


def _difference(one: Measured, metric: MetricName) -> Cell:
    found = difference_of(one, metric)
    if found is None:
        return Cell(MISSING, None)
    value, low, high = found
    return Cell(f"{value:+.3f}".replace("-", "−") + _written(low, high), value, best=low > 0 or high < 0)


def _written(low: float, high: float) -> str:
    return f" [{write_score(low)}, {write_score(high)}]".replace("-", "−")


def _ceilings(inputs: ReportInputs) -> str:
    """Return the scores of real images by LSH alone, in words."""
    found = {
        name.base.partition("_")[0]: write_score(inputs.teacher.metrics[name.raw])
        for name in inputs.metric_names()
        if name.aspect == "ceiling" and name.raw in inputs.teacher.metrics
    }
    scores = " and ".join(f"{score} of {side}" for side, score in found.items())
    return f"; by LSH alone real images score {scores}" if found else ""
