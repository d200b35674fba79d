"""The charts of the search: every scored sub-generator over each relevant cost, coloured by another cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganpress.config.search_section import SearchConfig
from ganpress.report.chain_values import ScoredSubnet, SearchOutcome
from ganpress.report.content import ReportInputs
from ganpress.report.figures.axes import cost_axis, label_marks, tick_bytes, tick_count, tick_number
from ganpress.report.figures.drawing import COLOURS, INK, MUTED, PAPER, Drawing, Hover, chart, finish
from ganpress.report.figures.quality_figures import front
from ganpress.report.notation import write_score

UNITS = {"macs": "MACs"}
"""Spelling of objectives that differs from their name."""
CLASSES = 5
"""Number of colours for the second cost."""


@dataclass(frozen=True)
class SearchCost:
    """A cost of sub-generators."""

    objective: str
    """Its name in search.objectives."""
    name: str
    """Its column in scores.csv, a metric name."""
    title: str
    tick: Callable[[float], str]
    limit: float | None
    """The budget; None if there is none."""


def search_costs(config: SearchConfig, search: SearchOutcome) -> list[SearchCost]:
    """Return MACs, and every other recorded cost that is an objective or has a limit."""
    known = [
        SearchCost("macs", "macs_exact", "MACs for one image", tick_count, config.max_macs),
        SearchCost("latency", "latency_ms_p50", "latency p50, ms, one thread", tick_number, config.max_latency_ms),
        SearchCost("parameters", "parameters", "parameters", tick_count, config.max_parameters),
        SearchCost("bytes", "size_bytes", "bytes as float32", tick_bytes, config.max_bytes),
    ]
    wanted = {"macs", *config.objectives} | {one.objective for one in known if one.limit is not None}
    return [one for one in known if one.objective in wanted and one.name in search.best.costs]


def search_charts(search: SearchOutcome, inputs: ReportInputs) -> list[Drawing]:
    """Draw the score over each of `search_costs`."""
    costs = search_costs(inputs.params.search, search)
    return [_search_chart(search, cost, _colour_cost(cost, costs, search), inputs) for cost in costs]


def _colour_cost(shown: SearchCost, costs: list[SearchCost], search: SearchOutcome) -> SearchCost | None:
    """Return the cost that colours the marks: latency if it was measured, else any other cost that varies."""
    others = sorted((one for one in costs if one.name != shown.name), key=lambda one: one.objective != "latency")
    return next((one for one in others if len({row.costs[one.name] for row in search.scored}) > 1), None)


def _search_chart(search: SearchOutcome, cost: SearchCost, colour: SearchCost | None, inputs: ReportInputs) -> Drawing:
    on_front = {one.spec for one in search.front}
    with chart() as (figure, axes, hover):
        colours = _Colours(search, colour)
        for one in search.scored:
            _mark(axes, hover, one, cost, colours, one.spec in on_front)
        points = [(one.costs[cost.name], one.score) for one in search.scored]
        line = front(points, search.metric.direction == "lower")
        axes.step(*zip(*line, strict=True), where="post", color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        x, y = search.best.costs[cost.name], search.best.score
        diamond = {"marker": "D", "markersize": 9, "markeredgewidth": 1.5, "markerfacecolor": "none"}
        text = f"chosen: {search.best.spec}, {write_score(y)}, {cost.tick(x)} {cost.title}"
        axes.plot([x], [y], linestyle="none", color=COLOURS["export"], zorder=5, gid=hover.id_for(text), **diamond)
        if cost.limit is not None:
            axes.axvline(cost.limit, color=INK, linewidth=1, linestyle=(0, (1, 1.5)))
        axes.margins(0.08, 0.1)
        cost_axis(axes, [*(x for x, _ in points), *([cost.limit] if cost.limit else [])], cost.tick)
        axes.set_xlabel(cost.title + (f" (dotted: the budget, {cost.tick(cost.limit)})" if cost.limit else ""))
        axes.set_ylabel(search.metric.heading)
        colours.legend(figure, axes)
        label_marks(figure, axes, [(x, y, search.best.spec)], [(x, y)])
        return finish(figure, hover, f"search-over-{cost.name.replace('_', '-')}", _title(cost), _caption(inputs))


def _title(cost: SearchCost) -> str:
    return f"Sub-generators over {cost.title.partition(',')[0]}"


def _caption(inputs: ReportInputs) -> str:
    *more, last = (UNITS.get(one, one) for one in inputs.params.search.objectives)
    others = ", ".join(["score", *more]) + f" and {last}"
    return (
        "each mark a sub-generator inside the budget, scored without retraining; ringed: the Pareto front over "
        f"{others}; dashed: the Pareto front over this axis alone; diamond: the chosen one"
    )


def _mark(axes: Any, hover: Hover, one: ScoredSubnet, cost: SearchCost, colours: "_Colours", on_front: bool) -> None:
    x = one.costs[cost.name]
    axes.plot(
        [x],
        [one.score],
        linestyle="none",
        marker="o",
        markersize=6.5 if on_front else 4.5,
        color=colours.of(one),
        markeredgecolor=INK if on_front else PAPER,
        markeredgewidth=1.1 if on_front else 0.3,
        zorder=3 if on_front else 2,
        gid=hover.id_for(f"{one.spec}: {write_score(one.score)}, {cost.tick(x)} {cost.title}{colours.text(one)}"),
    )


class _Colours:
    """Colour of each sub-generator by the class of its second cost; classes are equally large if possible."""

    def __init__(self, search: SearchOutcome, cost: SearchCost | None) -> None:
        self._cost = cost
        values = [] if cost is None else sorted({one.costs[cost.name] for one in search.scored})
        self._classes: list[tuple[float, float]] = [(value, value) for value in values]
        if len(values) > CLASSES:
            parts = np.array_split(np.array(values), CLASSES)
            self._classes = [(float(part[0]), float(part[-1])) for part in parts]

    def of(self, one: ScoredSubnet) -> str:
        """Return the colour in hexadecimal."""
        if self._cost is None:
            return COLOURS["subnet"]
        value = one.costs[self._cost.name]
        return self._shades()[next(place for place, (_, high) in enumerate(self._classes) if value <= high)]

    def text(self, one: ScoredSubnet) -> str:
        """Return the second cost in words, for the hover text."""
        return "" if self._cost is None else f", {self._cost.tick(one.costs[self._cost.name])} {self._cost.title}"

    def legend(self, figure: Any, axes: Any) -> None:
        """Add the legend of colours."""
        if self._cost is None:
            return
        for shade, ends in zip(self._shades(), self._classes, strict=True):
            low, high = (self._cost.tick(float(f"{end:.3g}")) for end in ends)
            label = low if low == high else f"{low} – {high}"
            axes.plot([], [], linestyle="none", marker="o", markersize=6, color=shade, markeredgewidth=0, label=label)
        title = "\n".join(self._cost.title.split(", ")[:2])
        legend = figure.legend(loc="outside right upper", title=title, handletextpad=0.1)
        legend.get_title().set_fontsize(8)

    def _shades(self) -> list[str]:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        return [to_hex(colormaps["viridis"](place)) for place in np.linspace(0.92, 0.05, len(self._classes))]
