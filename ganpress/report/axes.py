"""Parts of a chart that several figures share: compact ticks, labels that do not lie over marks."""

from collections.abc import Callable, Sequence
from typing import Any

from ganpress.report.drawing import INK
from ganpress.report.notation import write_bytes, write_compact

PLACES = (
    (6, 0, "left", "center"),
    (-6, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
    (5, 6, "left", "bottom"),
    (-5, 6, "right", "bottom"),
    (5, -6, "left", "top"),
    (-5, -6, "right", "top"),
)
"""Where a label may stand beside its mark: offset in points and alignment, best first."""


def logarithmic(axis: Any, write: Callable[[float], str]) -> None:
    """Give a log axis ticks at 1, 2 and 5 (or only decades over a long range) written by `write`."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = high / low
    axis.set_major_locator(LogLocator(base=10, subs=(1,) if decades > 300 else (1, 3) if decades > 30 else (1, 2, 5)))
    axis.set_minor_locator(LogLocator(base=10, subs=(1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_formatter(NullFormatter())


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
    """Write names beside marks, each at the first place where it covers no other mark or label and stays inside.

    A name that fits nowhere is left out; hovering still shows it.

    Args:
        figure: the figure, complete but for these labels.
        axes: where the marks are.
        marks: (x, y, name) in data coordinates, the most important first.
        all_points: every mark, in data coordinates.
    """
    from matplotlib.transforms import Bbox

    figure.canvas.draw()  # fixes the layout, so that sizes on the page are known
    renderer = figure.canvas.get_renderer()
    around = 4 * figure.dpi / 72
    pixels = axes.transData.transform(all_points)
    taken = [Bbox.from_bounds(x - around, y - around, 2 * around, 2 * around) for x, y in pixels]
    frame = axes.get_window_extent(renderer)
    for x, y, name in marks:
        for dx, dy, across, up in PLACES:
            text = axes.annotate(
                name, (x, y), (dx, dy), textcoords="offset points", ha=across, va=up, fontsize=8, color=INK
            )
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 + around and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()
