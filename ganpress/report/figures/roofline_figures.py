"""The roofline chart and table: multiply-accumulates per second of edge files against the measured peaks."""

from collections.abc import Sequence
from typing import Any

from ganpress.edge.roofline import Peaks
from ganpress.report.content import Measured, ReportInputs
from ganpress.report.figures.axes import cost_axis, label_marks, logarithmic, tick_count, tick_number
from ganpress.report.figures.drawing import COLOURS, INK, MARKERS, MUTED, SERIES, Drawing, Hover, chart, finish
from ganpress.report.notation import write_compact, write_milliseconds, write_share
from ganpress.report.tables.columns import Column, latency_protocol, measured_column
from ganpress.report.tables.grid import Heading, Row, RowGroup, Table, written

RATE, SHARE = "gmacs_per_s", "share_of_peak"
DASHES = {"float32": (0, (1, 1.5)), "bfloat16": (0, (5, 2)), "int8": "-"}


def rated(inputs: ReportInputs) -> list[Measured]:
    """Return the generators of the roofline: the teacher in eager torch, and every edge file."""
    shown = [inputs.teacher, *inputs.in_group("export")]
    return [one for one in shown if RATE in one.metrics and SHARE in one.metrics]


def computed_type(one: Measured, peaks: Peaks) -> str:
    """Return the number type in which a generator multiplies, whose peak its rate is compared with."""
    peak = one.metrics[RATE] / one.metrics[SHARE]
    return min(peaks.gmacs_per_s, key=lambda name: abs(peaks.gmacs_per_s[name] - peak))


def roofline_chart(inputs: ReportInputs) -> Drawing | None:
    """Draw the rate over multiply-accumulates, with the peaks as roofs; None if no peak or no rate was measured."""
    peaks, generators = inputs.peaks, rated(inputs)
    if peaks is None or not generators:
        return None
    with chart() as (figure, axes, hover):
        for place, (name, peak) in enumerate(peaks.gmacs_per_s.items()):
            style = {"color": SERIES[place % len(SERIES)], "linestyle": DASHES.get(name, "-")}
            axes.axhline(peak, linewidth=1.3, **style, label=f"{name}: {peak:.0f}")
        for one in generators:
            _mark(axes, hover, one, peaks)
        points = [(one.metrics["macs_exact"], one.metrics[RATE]) for one in generators]
        axes.set_yscale("log")
        axes.margins(0.1, 0.12)
        cost_axis(axes, [x for x, _ in points], tick_count)
        logarithmic(axes.yaxis, tick_number)
        axes.set_xlabel("MACs for one image")
        axes.set_ylabel("GMAC/s, batch 1")
        figure.legend(loc="outside upper left", ncols=3, title="measured peak, GMAC/s")
        names = [(x, y, one.item) for one, (x, y) in zip(generators, points, strict=True)]
        label_marks(figure, axes, names, points)
        caption = (
            f"multiply-accumulates of the trained network over the median time of one image, {latency_protocol(inputs)}"
            "; lines: the fastest matrix product of each number type on the same machine"
        )
        return finish(figure, hover, "roofline", "Rate against the processor's peaks", caption)


def _mark(axes: Any, hover: Hover, one: Measured, peaks: Peaks) -> None:
    axes.plot(
        [one.metrics["macs_exact"]],
        [one.metrics[RATE]],
        linestyle="none",
        marker=MARKERS[one.group],
        markersize=10 if one.group == "teacher" else 6.5,
        color=COLOURS[one.group],
        markeredgecolor=INK if one.group == "teacher" else MUTED,
        markeredgewidth=0.3,
        gid=hover.id_for(f"{one.reference}: {roofline_line(one, peaks)}"),
    )


def roofline_line(one: Measured, peaks: Peaks) -> str:
    """Return one generator's rate in words: `12.3 GMAC/s, 5.6 % of the int8 peak of 219`."""
    name = computed_type(one, peaks)
    rate, share = write_compact(one.metrics[RATE]), write_share(one.metrics[SHARE])
    return f"{rate} GMAC/s, {share} of the {name} peak of {peaks.gmacs_per_s[name]:.0f}"


def roofline_table(inputs: ReportInputs) -> Table | None:
    """Return a row for the teacher and every edge file: rate, number type, peak and share; None without rates."""
    peaks, generators = inputs.peaks, rated(inputs)
    if peaks is None or not generators:
        return None
    latency = measured_column("latency_ms_p50", "p50 ms", latency_protocol(inputs), "", write_milliseconds)
    share = Heading(SHARE, "of the peak", "", "share of the peak of the number type that it multiplies in", True)
    columns = [
        measured_column("macs_exact", "MACs", "macs_exact", "multiply-accumulates of one image", write_compact),
        latency,
        measured_column(RATE, "GMAC/s", "macs_exact / p50", "multiply-accumulates per second, 10^9", write_compact),
        Column(
            Heading("peak", "peak GMAC/s", f"{peaks.threads} thread{'s' if peaks.threads != 1 else ''}"),
            write_compact,
            lambda one: peaks.gmacs_per_s[computed_type(one, peaks)],
        ),
        Column(share, write_share, lambda one: one.metrics[SHARE]),
    ]
    rows = [_row(one, columns, peaks) for one in generators]
    caption = "Roofline: what eager torch and each edge file reach of this machine's measured peak"
    return Table("roofline", caption, [column.heading for column in columns], [RowGroup("", rows)])


def _row(one: Measured, columns: Sequence[Column], peaks: Peaks) -> Row:
    cells = [written(column.value(one), column.write) for column in columns]
    return Row(one.reference, one.group, cells, f"multiplies in {computed_type(one, peaks)}")
