"""Parts that several charts share: compact ticks, and labels that do not cover marks."""

from collections.abc import Callable, Sequence
from typing import Any

from ganpress.report.figures.drawing import INK, PAPER, settle
from ganpress.report.notation import write_bytes, write_compact

PLACES = (
    (5, -5, "left", "top"),
    (-5, 5, "right", "bottom"),
    (5, 5, "left", "bottom"),
    (-5, -5, "right", "top"),
    (0, -8, "center", "top"),
    (0, 8, "center", "bottom"),
    (8, 0, "left", "center"),
    (-8, 0, "right", "center"),
)
"""Places of a label beside its mark: offset in points and alignment, best first.

The steps of a Pareto front leave a mark to the right and arrive from below or above, so corners come first.
"""
TICKS = ((300, (1,)), (30, (1, 3)), (8, (1, 2, 5)), (0, (1, 2, 3, 5, 7)))
"""Ticks in each decade of a log axis, with the smallest ratio of the axis's ends for which they are used."""
LINEAR_SPAN = 3
"""Largest ratio of maximum to minimum for a linear axis, because a log axis of so few decades would lack ticks."""
BACKING = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6, "alpha": 0.8}
"""Background of a label, so that a line behind it does not strike it through."""


def logarithmic(axis: Any, write: Callable[[float], str]) -> None:
    """Give a log axis ticks formatted by `write`, with more ticks per decade for a shorter range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    subs = next(subs for span, subs in TICKS if high / low > span)
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_minor_locator(LogLocator(base=10, subs=(1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_formatter(NullFormatter())


def cost_axis(axes: Any, values: Sequence[float], write: Callable[[float], str]) -> None:
    """Make the x axis logarithmic if its values (above 0) span more than `LINEAR_SPAN`; ticks are formatted by `write`.

    Call it last, when marks and margins are set.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if max(values) > LINEAR_SPAN * min(values):
        axes.set_xscale("log")
        logarithmic(axes.xaxis, write)
        return
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def tick_count(value: float) -> str:
    """Write a tick of a count: `20 k`."""
    return _trim(write_compact(value))


def tick_bytes(value: float) -> str:
    """Write a tick of a file size: `20 kB`."""
    return _trim(write_bytes(value))


def tick_number(value: float) -> str:
    """Write a tick of a plain number: `0.5`."""
    return f"{value:g}"


def _trim(text: str) -> str:
    number, space, unit = text.partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + space + unit


def label_marks(
    figure: Any, axes: Any, marks: Sequence[tuple[float, float, str]], all_points: Sequence[tuple[float, float]]
) -> None:
    """Write names beside marks, each at the first place inside the axes where it covers no other mark or label.

    A name without such a place is left out; hovering still shows it.

    Args:
        figure: the figure, complete except for these labels.
        axes: the axes with the marks.
        marks: (x, y, name) in data coordinates, the most important first.
        all_points: every mark, in data coordinates.
    """
    from matplotlib.transforms import Bbox

    settle(figure)
    renderer = figure.canvas.get_renderer()
    around = 4 * figure.dpi / 72
    pixels = axes.transData.transform(all_points)
    taken = [Bbox.from_bounds(x - around, y - around, 2 * around, 2 * around) for x, y in pixels]
    frame = axes.get_window_extent(renderer)
    first_on_spot = list({(x, y): name for x, y, name in reversed(marks)}.items())[::-1]
    for (x, y), name in first_on_spot:
        for dx, dy, across, up in PLACES:
            text = axes.annotate(
                name,
                (x, y),
                (dx, dy),
                textcoords="offset points",
                ha=across,
                va=up,
                fontsize=8,
                color=INK,
                zorder=2.5,
                bbox=BACKING,
            )
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 + around and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()
