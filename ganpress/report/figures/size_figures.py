"""The chart of students and controls over their size (Aguinaldo et al. 2019, figure 3)."""

from dataclasses import dataclass
from typing import Any

from ganpress.report.content import Group, Measured, ReportInputs
from ganpress.report.figures.axes import cost_axis, logarithmic, tick_count, tick_number
from ganpress.report.figures.drawing import COLOURS, INK, MARKERS, Drawing, chart, finish
from ganpress.report.figures.quality_figures import mark, score_scale
from ganpress.report.notation import MetricName, write_score

LOSSES = {
    "mse": "student, MSE",
    "joint": "student, joint loss",
    "gan_compression": "student, GAN Compression",
}
DOTTED = (0, (1, 1.5))


@dataclass(frozen=True)
class Series:
    """Generators that differ only in size."""

    label: str
    group: Group
    dashed: bool
    points: list[tuple[float, Measured]]
    """Pairs (size, generator), the smallest first."""


def size_chart(inputs: ReportInputs, metric: MetricName) -> Drawing | None:
    """Draw score over size: students by loss, controls, and the teacher as a line; None if there is only one size.

    Size is the depth scale factor if all are W-DCGANs, otherwise the number of parameters.
    """
    by_depth = _all_have_depth(inputs)
    series = [one for one in _series(inputs, metric, by_depth) if one.points]
    teacher = inputs.teacher.metrics.get(metric.raw)
    sizes = sorted({size for one in series for size, _ in one.points})
    if teacher is None or len(sizes) < 2:
        return None
    with chart() as (figure, axes, hover):
        axes.axhline(teacher, color=INK, linewidth=1.2, linestyle=DOTTED)
        for one in series:
            _draw_series(axes, one, metric)
            for size, generator in one.points:
                text = f"d = {size:g}" if by_depth else f"{tick_count(size)} parameters"
                mark(axes, hover, generator, size, generator.metrics[metric.raw], text, metric, one.dashed)
        axes.set_yscale(
            score_scale(metric, [teacher, *(one.metrics[metric.raw] for s in series for _, one in s.points)])
        )
        if axes.get_yscale() == "log":
            logarithmic(axes.yaxis, tick_number)
        axes.margins(0.06, 0.1)
        _size_axis(axes, sizes, by_depth)
        axes.set_ylabel(metric.heading)
        axes.plot([], [], color=INK, linewidth=1.2, linestyle=DOTTED, label=f"teacher ({write_score(teacher)})")
        figure.legend(loc="outside upper left", ncols=2)
        caption = f"{metric.heading}; a control has the student's size and was trained without a teacher"
        return finish(figure, hover, f"{metric.base}-over-size", f"{metric.title} over size", caption)


def _draw_series(axes: Any, one: Series, metric: MetricName) -> None:
    style = {"color": COLOURS[one.group], "linestyle": "--" if one.dashed else "-"}
    axes.plot([size for size, _ in one.points], [generator.metrics[metric.raw] for _, generator in one.points], **style)
    face = "none" if one.dashed else COLOURS[one.group]
    axes.plot([], [], **style, marker=MARKERS[one.group], markersize=6.5, markerfacecolor=face, label=one.label)


def _size_axis(axes: Any, sizes: list[float], by_depth: bool) -> None:
    if by_depth:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("depth scale factor d")
        return
    cost_axis(axes, sizes, tick_count)
    axes.set_xlabel("parameters")


def _all_have_depth(inputs: ReportInputs) -> bool:
    items = [*inputs.params.student.items.values(), *inputs.params.control.items.values()]
    return all(one.depth is not None for one in items)


def _series(inputs: ReportInputs, metric: MetricName, by_depth: bool) -> list[Series]:
    """Return one series for each loss of the students, and one for the controls."""
    students, controls = inputs.params.student.items, inputs.params.control.items
    series = []
    for loss, label in LOSSES.items():
        depths = {f"student/{item}": one.depth for item, one in students.items() if one.loss == loss}
        series.append(Series(label, "student", loss == "joint", _points(inputs, metric, depths, by_depth)))
    depths = {f"control/{item}": one.depth for item, one in controls.items()}
    return [*series, Series("control: no teacher", "control", False, _points(inputs, metric, depths, by_depth))]


def _points(
    inputs: ReportInputs, metric: MetricName, depths: dict[str, int | None], by_depth: bool
) -> list[tuple[float, Measured]]:
    points = []
    for reference, depth in depths.items():
        one = inputs.generator(reference)
        size = None if one is None else depth if by_depth else one.metrics.get("parameters")
        if one is not None and size is not None and metric.raw in one.metrics:
            points.append((float(size), one))
    return sorted(points, key=lambda point: (point[0], point[1].reference))
