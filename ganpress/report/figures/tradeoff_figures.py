"""The charts of quality against diversity over compression levels, with a line for each clipping method."""

from collections.abc import Sequence
from typing import Any

from ganpress.report.figures.axes import cost_axis, label_marks, logarithmic, tick_bytes, tick_number
from ganpress.report.figures.drawing import (
    INK,
    MUTED,
    PAPER,
    SERIES,
    WIDE_INCHES,
    Drawing,
    Hover,
    chart,
    chart_grid,
    finish,
)
from ganpress.report.notation import parse_metric_name, write_bytes, write_score
from ganpress.report.tradeoff import Level, Sweep, Test, ceiling, differs, interval

SHAPES = ("o", "s", "D", "v", "^")
"""Marker shapes of clipping methods, so that colour is never the only difference."""
DASHES, DOTS = (0, (4, 2)), (0, (1, 1.5))
BAND = 0.16
"""Opacity of an interval."""
LEVEL_SHARE = 95
"""Confidence level of the intervals in percent."""


def tradeoff_charts(sweep: Sweep) -> list[Drawing]:
    """Draw for each test precision over bits, recall over bits, and both against each other."""
    return [_tradeoff_chart(sweep, test) for test in sweep.tests()]


def _tradeoff_chart(sweep: Sweep, test: Test) -> Drawing:
    with chart_grid(1, 3, WIDE_INCHES, 3.5) as (figure, (quality, diversity, both), hover):
        for axes, name, label in ((quality, test.precision, "precision ↑"), (diversity, test.recall, "recall ↑")):
            _over_bits(axes, hover, sweep, name)
            axes.set_ylabel(f"{label} (quality)" if name == test.precision else f"{label} (diversity)")
        _against(both, hover, sweep, test)
        lines = [both.plot([], [], **style, label=name)[0] for name, style in _styles(sweep).items()]
        lines.append(both.plot([], [], color=INK, linestyle=DASHES, marker="*", markersize=9, label="in floats")[0])
        if ceiling(sweep, test.precision) is not None:
            lines.append(both.plot([], [], color=MUTED, linestyle=DOTS, label="real images")[0])
        figure.legend(handles=lines, loc="outside upper left", ncols=len(lines))
        _settled_labels(figure, both, sweep, test)
        caption = f"{sweep.generator}, weights and activations of the same width; {test.protocol}"
        if f"{test.precision}_low" in sweep.in_floats:
            bands = f"bands and crosses: {LEVEL_SHARE} % intervals over the draw of images"
            caption += f"; {bands}; hollow: no significant difference"
        title = f"Quality against diversity over bits, by {test.title}"
        return finish(figure, hover, f"tradeoff-{test.key}", title, caption, wide=True)


def _styles(sweep: Sweep) -> dict[str, dict[str, Any]]:
    """Return colour and shape of each clipping method."""
    return {
        clipping: {"color": SERIES[place % len(SERIES)], "marker": SHAPES[place % len(SHAPES)], "markersize": 5.5}
        for place, clipping in enumerate(sweep.clippings)
    }


def _over_bits(axes: Any, hover: Hover, sweep: Sweep, name: str) -> None:
    low, high = interval(sweep.in_floats, name)
    axes.axhspan(low, high, color=INK, alpha=BAND / 2, linewidth=0)
    axes.axhline(sweep.in_floats[name], color=INK, linestyle=DASHES, linewidth=1.2)
    real = ceiling(sweep, name)
    if real is not None:
        axes.axhline(real, color=MUTED, linestyle=DOTS, linewidth=1.2)
    for clipping, style in _styles(sweep).items():
        levels = sweep.by_clipping(clipping)
        bits = [level.bits for level in levels]
        bounds = [interval(level.metrics, name) for level in levels]
        axes.fill_between(bits, *zip(*bounds, strict=True), color=style["color"], alpha=BAND, linewidth=0)
        axes.plot(bits, [level.metrics[name] for level in levels], color=style["color"])
        for level in levels:
            face = {} if differs(level.metrics, name) else {"markerfacecolor": PAPER}
            axes.plot([level.bits], [level.metrics[name]], **style, **face, gid=hover.id_for(_words(level, name)))
    axes.set_xticks(sweep.bits)
    axes.set_xlabel("bits")
    axes.set_ylim(bottom=-0.02)  # room for the mark of a score of 0


def _against(axes: Any, hover: Hover, sweep: Sweep, test: Test) -> None:
    for clipping, style in _styles(sweep).items():
        levels = sweep.by_clipping(clipping)
        where = [(level.metrics[test.recall], level.metrics[test.precision]) for level in levels]
        axes.plot(*zip(*where, strict=True), color=style["color"], linewidth=1.1)
        for level, (x, y) in zip(levels, where, strict=True):
            _cross(axes, level.metrics, test, style["color"])
            text = f"{level.name}: precision {write_score(y)}, recall {write_score(x)}"
            axes.plot([x], [y], **style, linestyle="none", gid=hover.id_for(text))
    _cross(axes, sweep.in_floats, test, INK)
    x, y = sweep.in_floats[test.recall], sweep.in_floats[test.precision]
    text = f"in floats: precision {write_score(y)}, recall {write_score(x)}"
    axes.plot([x], [y], color=INK, marker="*", markersize=11, linestyle="none", gid=hover.id_for(text))
    axes.margins(0.1)
    axes.set_xlabel("recall ↑ (diversity)")
    axes.set_ylabel("precision ↑ (quality), bits beside marks")


def _cross(axes: Any, metrics: Any, test: Test, colour: str) -> None:
    x, y = metrics[test.recall], metrics[test.precision]
    axes.plot(interval(metrics, test.recall), [y, y], color=colour, linewidth=0.9, alpha=0.5)
    axes.plot([x, x], interval(metrics, test.precision), color=colour, linewidth=0.9, alpha=0.5)


def _settled_labels(figure: Any, axes: Any, sweep: Sweep, test: Test) -> None:
    """Write the bits beside the marks, the fewest first, because they matter most."""
    marks = [
        (level.metrics[test.recall], level.metrics[test.precision], str(level.bits))
        for level in sorted(sweep.levels, key=lambda level: level.bits)
    ]
    others = [(sweep.in_floats[test.recall], sweep.in_floats[test.precision])]
    label_marks(figure, axes, marks, [*((x, y) for x, y, _ in marks), *others])


def _words(level: Level, name: str) -> str:
    low, high = interval(level.metrics, name)
    measured = f" ({write_score(low)} to {write_score(high)})" if low < high else ""
    return f"{level.name}: {write_score(level.metrics[name])}{measured}"


def size_charts(sweep: Sweep) -> list[Drawing]:
    """Draw the distance to real images over the bytes of the packed file; no chart if either was not measured."""
    name = sweep.metric("fid")
    if name is None or not all("packed_bytes" in level.metrics for level in sweep.levels):
        return []
    metric = parse_metric_name(name)
    with chart() as (figure, axes, hover):
        for clipping, style in _styles(sweep).items():
            levels = sweep.by_clipping(clipping)
            where = [(level.metrics["packed_bytes"], level.metrics[name]) for level in levels]
            axes.plot(*zip(*where, strict=True), color=style["color"])
            axes.plot([], [], **style, label=clipping)
            for level, (x, y) in zip(levels, where, strict=True):
                text = f"{level.name}: {metric.title} {write_score(y)}, {write_bytes(x)}"
                axes.plot([x], [y], **style, linestyle="none", gid=hover.id_for(text))
        axes.axhline(sweep.in_floats[name], color=INK, linestyle=DASHES, linewidth=1.2)
        axes.plot([], [], color=INK, linestyle=DASHES, label=f"in floats ({write_score(sweep.in_floats[name])})")
        axes.set_yscale("log")
        axes.margins(0.08, 0.1)
        _size_axes(axes, sweep, [level.metrics["packed_bytes"] for level in sweep.levels])
        axes.set_ylabel(metric.heading, color=MUTED)
        figure.legend(loc="outside upper left", ncols=4)
        caption = f"{metric.heading} of {sweep.generator} at each level, over the bytes of its packed file"
        return [finish(figure, hover, "tradeoff-bytes", f"{metric.title} over packed bytes", caption)]


def _size_axes(axes: Any, sweep: Sweep, sizes: Sequence[float]) -> None:
    logarithmic(axes.yaxis, tick_number)
    cost_axis(axes, sizes, tick_bytes)
    if "packed_bytes" in sweep.in_floats:
        axes.set_xlabel(f"packed file ({write_bytes(sweep.in_floats['packed_bytes'])} in floats)")
    else:
        axes.set_xlabel("packed file")
