"""The tables of the report, as values that both the page and the Markdown show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ganpress.report.content import GROUPS, Group, Measured, ReportInputs
from ganpress.report.figures import GROUP_NAMES
from ganpress.report.notation import (
    MISSING,
    MetricName,
    Writer,
    write_bytes,
    write_compact,
    write_count,
    write_milliseconds,
    write_ratio,
    write_score,
    write_share,
)


@dataclass(frozen=True)
class Column:
    """A column heading with its protocol, and how its numbers are found and written."""

    key: str
    title: str
    protocol: str
    meaning: str
    write: Writer
    value: Callable[[Measured], float | None]
    more_first: bool = False
    """Whether the largest value comes first when sorted."""
    best: float | None = None
    """The best value among all rows, where one direction is better."""


@dataclass(frozen=True)
class Cell:
    """A number as it is written, and as it was measured (None: not measured)."""

    text: str
    value: float | None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One generator's cells."""

    reference: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class RowGroup:
    """The rows of one stage."""

    group: Group
    title: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    """A whole table."""

    name: str
    caption: str
    columns: Sequence[Column]
    groups: Sequence[RowGroup]


def headline_table(inputs: ReportInputs) -> Table:
    """Cost, ratios to the teacher, and the scores that decide."""
    latency = _latency_protocol(inputs)
    columns = []
    for base in ("is", "fid", "kid"):
        metric = inputs.metric(base)
        if metric is not None and (base != "kid" or metric == inputs.main_metric):
            columns.append(_quality(inputs, metric))
            if metric == inputs.main_metric:
                columns.append(_retained(inputs, metric))
    columns += [
        _measured("parameters", "Parameters", "weights and biases", "", write_count),
        _ratio(inputs, "parameters", "fewer"),
        _measured("size_bytes", "File", "on disk", "generator.pt or generator.onnx, 1 kB = 1000 bytes", write_bytes),
        _ratio(inputs, "size_bytes", "smaller"),
        _measured("macs_exact", "MACs", "exact, one image", "multiply-accumulates of one image", write_compact),
        _ratio(inputs, "macs_exact", "fewer"),
        _measured("latency_ms_p50", "p50 ms", latency, "median wall time of one image", write_milliseconds),
        _speed_up(),
    ]
    caption = "Every generator of the chain, measured in one run by one protocol"
    return _table("generators", caption, inputs, columns)


def quality_table(inputs: ReportInputs) -> Table:
    """All quality metrics."""
    names = [metric for metric in inputs.metric_names() if metric.base != metric.raw]
    order = {base: place for place, base in enumerate(dict.fromkeys(metric.base for metric in names))}
    names.sort(key=lambda metric: (order[metric.base], metric.is_spread))  # a spread beside what it is the spread of
    columns = [_quality(inputs, metric) for metric in names]
    return _table(
        "quality", "Quality, diversity and sharpness, on the same latents for every generator", inputs, columns
    )


def remaining_table(inputs: ReportInputs) -> Table:
    """Everything else that was measured, under its own name."""
    shown = {"parameters", "size_bytes", "macs_exact", "latency_ms_p50", "latency_ratio", "is_retained"}
    names = [name.raw for name in inputs.metric_names() if name.base == name.raw and name.raw not in shown]
    columns = [_measured(name, name, "", "", _writer_for(name)) for name in names]
    return _table("other", "Other numbers of the evaluation, by their names in metrics.json", inputs, columns)


def _writer_for(name: str) -> Writer:
    """Guess from the unit in the name."""
    if name.startswith("macs") or name.endswith("_bytes"):
        return write_count
    return write_share if name.endswith("_retained") else lambda value: f"{value:.4g}"


def _latency_protocol(inputs: ReportInputs) -> str:
    threads = {one.metrics.get("latency_threads") for one in inputs.generators} - {None}
    protocol = "batch 1"
    for count in sorted(value for value in threads if value is not None):
        protocol += f", {count:g} thread{'s' if count != 1 else ''}"
    return f"{protocol}, {inputs.params.evaluate.latency_repeats} rounds"


def _measured(name: str, title: str, protocol: str, meaning: str, write: Writer) -> Column:
    return Column(name, title, protocol, meaning, write, lambda one: one.metrics.get(name))


def _ratio(inputs: ReportInputs, name: str, title: str) -> Column:
    teacher = inputs.teacher.metrics.get(name)

    def value(one: Measured) -> float | None:
        own = one.metrics.get(name)
        return teacher / own if teacher and own else None

    return Column(f"{name}_ratio", title, "teacher / own", f"ratio of {name}", write_ratio, value, True)


def _speed_up() -> Column:
    meaning = "speed-up in the same run"
    return Column(
        "latency_ratio",
        "faster",
        "teacher p50 / own",
        meaning,
        write_ratio,
        lambda one: one.metrics.get("latency_ratio"),
        True,
    )


def _quality(inputs: ReportInputs, metric: MetricName) -> Column:
    values = [one.metrics[metric.raw] for one in inputs.generators if metric.raw in one.metrics]
    best = {"higher": max, "lower": min}.get(metric.direction)
    title = f"{metric.title} {metric.arrow}".strip()
    return Column(
        metric.raw,
        title,
        metric.protocol,
        metric.meaning,
        write_score,
        lambda one: one.metrics.get(metric.raw),
        metric.direction == "higher",
        best(values) if best else None,
    )


def _retained(inputs: ReportInputs, metric: MetricName) -> Column:
    rule = "own / teacher" if metric.direction == "higher" else "teacher / own"

    def value(one: Measured) -> float | None:
        if metric.base == "is" and "is_retained" in one.metrics:
            return one.metrics["is_retained"]
        return inputs.retained(one, metric)

    return Column(
        "retained", "retained", f"{rule} {metric.title}", "share of the teacher's score", write_share, value, True
    )


def _table(name: str, caption: str, inputs: ReportInputs, columns: Sequence[Column]) -> Table:
    """Keep the columns that anything has a value in, and group the rows by stage."""
    kept = [column for column in columns if any(column.value(one) is not None for one in inputs.generators)]
    groups = []
    for group in GROUPS:
        rows = [_row(one, kept) for one in ordered(inputs, group)]
        if rows:
            groups.append(RowGroup(group, GROUP_NAMES[group], rows))
    return Table(name, caption, kept, _beside_controls(inputs, groups))


def ordered(inputs: ReportInputs, group: Group) -> list[Measured]:
    """The generators of a group as params.yaml orders them, by depth where they have one."""
    items = {"student": inputs.params.student.items, "control": inputs.params.control.items}.get(group, {})
    depths = {item: one.depth for item, one in items.items()}  # type: ignore[attr-defined]
    return sorted(inputs.in_group(group), key=lambda one: depths.get(one.item, 0))


def _beside_controls(inputs: ReportInputs, groups: list[RowGroup]) -> list[RowGroup]:
    """Merge students and controls into one group, each control under the students of its depth."""
    by_group = {one.group: one for one in groups}
    if "student" not in by_group or "control" not in by_group:
        return groups
    depths = {f"student/{item}": (one.depth, 0) for item, one in inputs.params.student.items.items()}
    depths |= {f"control/{item}": (one.depth, 1) for item, one in inputs.params.control.items.items()}
    rows = [*by_group["student"].rows, *by_group["control"].rows]
    rows.sort(key=lambda row: depths.get(row.reference, (0, 0)))
    merged = RowGroup("student", "Students, each above the control of its size", rows)
    return [merged if one.group == "student" else one for one in groups if one.group != "control"]


def _row(one: Measured, columns: Sequence[Column]) -> Row:
    return Row(one.reference, [_cell(one, column) for column in columns])


def _cell(one: Measured, column: Column) -> Cell:
    value = column.value(one)
    if value is None:
        return Cell(MISSING, None)
    text = column.write(value)
    return Cell(text, value, column.best is not None and text == column.write(column.best))  # equal as far as shown
