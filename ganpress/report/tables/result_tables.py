"""The tables of results, as values for both the page and the Markdown."""

import math
from collections.abc import Mapping, Sequence

from ganpress.metrics.ranking import is_conditional
from ganpress.report.content import GROUPS, Group, Measured, ReportInputs
from ganpress.report.figures.quality_figures import GROUP_NAMES
from ganpress.report.lineage.network_names import EXTRACTED
from ganpress.report.notation import write_bytes, write_compact, write_count, write_milliseconds
from ganpress.report.tables.columns import (
    Column,
    latency_protocol,
    measured_column,
    quality_column,
    ratio_column,
    retained_column,
    speed_up_column,
    writer_for,
)
from ganpress.report.tables.grid import Row, RowGroup, Table, written


def headline_table(inputs: ReportInputs) -> Table:
    """Return the table of costs, ratios to the teacher, and main scores."""
    latency = latency_protocol(inputs)
    columns = _headline_scores(inputs)
    columns += [
        measured_column("parameters", "Parameters", "weights and biases", "", write_count),
        ratio_column(inputs, "parameters", "fewer"),
        measured_column(
            "size_bytes", "File", "on disk", "generator.safetensors or the edge file, 1 kB = 1000 bytes", write_bytes
        ),
        ratio_column(inputs, "size_bytes", "smaller"),
        measured_column("macs_exact", "MACs", "macs_exact", "multiply-accumulates that one image takes", write_compact),
        ratio_column(inputs, "macs_exact", "fewer"),
        measured_column(
            "macs_torchprofile", "MACs", "macs_torchprofile", "as published tables count them", write_compact
        ),
        measured_column("latency_ms_p50", "p50 ms", latency, "median wall time of one image", write_milliseconds),
        speed_up_column(),
    ]
    caption = "Every generator of the chain, measured in one run by one protocol"
    return _table("generators", caption, inputs, columns)


HEADLINE = ("is", "miou", "fid", "psnr", "ssim")
"""Scores shown with the costs, in this order; those that were not measured are left out."""


def _headline_scores(inputs: ReportInputs) -> list[Column]:
    """Return the main metric with its retained share, then the others of `HEADLINE`."""
    main = inputs.main_metric
    others = [metric for base in HEADLINE if base != main.base and (metric := inputs.metric(base)) is not None]
    if is_conditional([metric.raw for metric in inputs.metric_names()]):
        others = [name for name in others if name.compares]  # the table of all metrics shows the parts of the score
    return [
        quality_column(inputs, main),
        retained_column(inputs, main),
        *(quality_column(inputs, metric) for metric in others),
    ]


def quality_table(inputs: ReportInputs) -> Table:
    """Return the table of all quality metrics."""
    names = [
        metric
        for metric in inputs.metric_names()
        if metric.base != metric.raw and not metric.is_bound and not metric.aspect  # `certainty_table` shows these
    ]
    order = {base: place for place, base in enumerate(dict.fromkeys(metric.base for metric in names))}
    names.sort(key=lambda metric: (order[metric.base], metric.is_spread))  # each spread is next to its metric
    columns = [quality_column(inputs, metric) for metric in names]
    return _table(
        "quality",
        f"Quality, diversity and sharpness, on the same {inputs.inputs_noun} for every generator",
        inputs,
        columns,
    )


def remaining_table(inputs: ReportInputs) -> Table:
    """Return the table of all other measured numbers, by their own names."""
    shown = {"parameters", "size_bytes", "macs_exact", "macs_torchprofile", "latency_ms_p50", "latency_ratio"}
    shown.add(f"{inputs.main_metric.base}_retained")
    names = [name.raw for name in inputs.metric_names() if name.base == name.raw and name.raw not in shown]
    columns = [measured_column(name, name, "", "", writer_for(name)) for name in names]
    return _table("other", "Other numbers of the evaluation, by their names in metrics.json", inputs, columns)


def _table(name: str, caption: str, inputs: ReportInputs, columns: Sequence[Column]) -> Table:
    """Keep the columns with at least one value, and group the rows by stage."""
    kept = [column for column in columns if any(column.value(one) is not None for one in inputs.generators)]
    groups = {}
    for group in GROUPS:
        rows = [_row(inputs, one, kept) for one in ordered(inputs, group)]
        if rows:
            groups[group] = RowGroup(_group_title(inputs, group), rows)
    return Table(name, caption, [column.heading for column in kept], _beside_controls(inputs, groups))


def _group_title(inputs: ReportInputs, group: Group) -> str:
    if group == "subnet" and inputs.generator(EXTRACTED) is not None:
        return "Sub-generator, as extracted from the supernet and after fine-tuning"
    return GROUP_NAMES[group]


def ordered(inputs: ReportInputs, group: Group) -> list[Measured]:
    """Return the generators of a group: students and controls by size, the extracted sub-generator first."""
    found = inputs.in_group(group)
    if group in ("student", "control"):
        return sorted(found, key=lambda one: _size(inputs, one.reference))
    return sorted(found, key=lambda one: one.reference != EXTRACTED) if group == "subnet" else found


def _size(inputs: ReportInputs, reference: str) -> tuple[float, str]:
    """Return a sort key that groups generators of the same network, the smaller network first."""
    one = inputs.generator(reference)
    return one.metrics.get("parameters", math.inf) if one else math.inf, inputs.networks.get(reference, "")


def _beside_controls(inputs: ReportInputs, groups: Mapping[Group, RowGroup]) -> list[RowGroup]:
    """Merge students and controls into one group by size, each control under the students of its network."""
    if "student" not in groups or "control" not in groups:
        return list(groups.values())
    rows = [*groups["student"].rows, *groups["control"].rows]
    rows.sort(key=lambda row: _size(inputs, row.reference))  # the sort is stable: students come first among equals
    merged = RowGroup("Students, and controls without a teacher", rows)
    return [merged if name == "student" else one for name, one in groups.items() if name != "control"]


def _row(inputs: ReportInputs, one: Measured, columns: Sequence[Column]) -> Row:
    cells = [written(column.value(one), column.write, column.best) for column in columns]
    return Row(one.reference, one.group, cells, inputs.networks.get(one.reference, ""))
