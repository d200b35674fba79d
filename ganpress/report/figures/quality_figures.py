"""The charts of quality against cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ganpress.report.content import GROUPS, Group, Measured, ReportInputs
from ganpress.report.figures.axes import cost_axis, label_marks, logarithmic, tick_bytes, tick_count, tick_number
from ganpress.report.figures.drawing import COLOURS, MARKERS, MUTED, Drawing, Hover, chart, finish
from ganpress.report.lineage.network_names import EXTRACTED
from ganpress.report.notation import MetricName, write_score

GROUP_NAMES: dict[Group, str] = {
    "teacher": "Teacher",
    "student": "Students",
    "control": "Controls",
    "subnet": "Sub-generator",
    "compress": "Compressed",
    "export": "Edge files",
}


@dataclass(frozen=True)
class CostAxis:
    """A cost on the x axis of a quality chart."""

    name: str
    """Name of the cost among the metrics."""
    title: str
    tick: Callable[[float], str]
    groups: tuple[Group, ...] = GROUPS
    note: str = ""


RUNNABLE: tuple[Group, ...] = tuple(group for group in GROUPS if group != "compress")
_SIMULATED = "compressed generators are left out, as torch only simulates them; their edge files show the true latency"
COST_AXES = (
    CostAxis("parameters", "parameters", tick_count),
    CostAxis("size_bytes", "file size", tick_bytes),
    CostAxis("latency_ms_p50", "latency p50, ms, batch 1", tick_number, RUNNABLE, _SIMULATED),
    CostAxis("macs_exact", "MACs for one image", tick_count),
)


def front(points: Sequence[tuple[float, float]], lower_is_better: bool) -> list[tuple[float, float]]:
    """Return the Pareto front of the points (cost, score), by ascending cost."""
    sign = 1 if lower_is_better else -1
    best: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not best or sign * score < sign * best[-1][1]:
            best.append((cost, score))
    return best


def pareto_charts(inputs: ReportInputs, metric: MetricName) -> list[Drawing]:
    """Draw quality against each cost that was measured."""
    drawings = [_pareto_chart(inputs, metric, cost) for cost in COST_AXES]
    return [drawing for drawing in drawings if drawing is not None]


def _pareto_chart(inputs: ReportInputs, metric: MetricName, cost: CostAxis) -> Drawing | None:
    shown = [
        one
        for one in inputs.generators
        if one.group in cost.groups and metric.raw in one.metrics and one.metrics.get(cost.name, 0) > 0
    ]
    if len(shown) < 2:
        return None
    where = {one.reference: (one.metrics[cost.name], one.metrics[metric.raw]) for one in shown}
    line = front(list(where.values()), metric.direction == "lower")
    with chart() as (figure, axes, hover):
        axes.set_yscale(score_scale(metric, [y for _, y in where.values()]))
        axes.step(*zip(*line, strict=True), where="post", color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        for one in shown:
            text = f"{cost.tick(where[one.reference][0])} {cost.title}"
            mark(axes, hover, one, *where[one.reference], text, metric, one.reference == EXTRACTED)
        axes.margins(0.09, 0.1)
        cost_axis(axes, [x for x, _ in where.values()], cost.tick)
        if axes.get_yscale() == "log":
            logarithmic(axes.yaxis, tick_number)
        axes.set_xlabel(cost.title)
        axes.set_ylabel(metric.heading)
        on_front = [one for one in shown if where[one.reference] in line]
        best = inputs.best_edge_file()
        names = sorted(on_front, key=lambda one: (one != best, one.group != "teacher"))
        label_marks(figure, axes, [(*where[one.reference], short_name(one)) for one in names], list(where.values()))
        caption = f"{metric.heading}; dashed: the Pareto front, where no other generator is better in both"
        caption += f"; {cost.note}" if cost.note else ""
        name = f"{metric.base}-over-{cost.name.replace('_', '-')}"
        return finish(figure, hover, name, f"{metric.title} over {cost.title}", caption)


def mark(
    axes: Any, hover: Hover, one: Measured, x: float, y: float, cost: str, metric: MetricName, hollow: bool = False
) -> None:
    """Draw one generator in its group's colour and shape; `hollow` distinguishes two of one group."""
    big = one.group == "teacher"
    axes.plot(
        [x],
        [y],
        linestyle="none",
        marker=MARKERS[one.group],
        markersize=11 if big else 6.5,
        color=COLOURS[one.group],
        markerfacecolor="none" if hollow else COLOURS[one.group],
        markeredgewidth=1.5 if hollow else 0,
        alpha=1 if big else 0.9,
        zorder=4 if big else 3,
        gid=hover.id_for(f"{one.reference}: {metric.title} {write_score(y)}, {cost}"),
    )


def short_name(one: Measured) -> str:
    """Return a generator's name for a chart, without the group, which the marker shows."""
    suffix = {"export": " (edge)", "control": " (control)"}.get(one.group, "")
    return one.item + suffix


def score_scale(metric: MetricName, values: Sequence[float]) -> str:
    """Return the scale of the score axis: logarithmic for distances that span more than a factor of 5."""
    return "log" if metric.direction == "lower" and min(values) > 0 and max(values) / min(values) > 5 else "linear"
