"""Renders each drawing twice: as a themed inline SVG for the page, and as a PNG for Markdown."""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

INK, MUTED, GRID, PAPER = "#1b1f24", "#5b6570", "#d9dee3", "#ffffff"
COLOURS: dict[str, str] = {
    "teacher": "#1b1f24",
    "student": "#0b63b0",
    "control": "#b8680a",
    "subnet": "#0a7d5b",
    "compress": "#8a4fbf",
    "export": "#c8324b",
}
"""Light colour of each group, as in report.css; the dark colours are only there."""
MARKERS = {"teacher": "*", "student": "o", "control": "s", "subnet": "D", "compress": "v", "export": "^"}
"""Marker shape of each group, so that colour is never the only difference."""
MARKER_PATHS = {
    "teacher": "M0,-7 L1.7,-2.2 6.7,-2.2 2.7,.9 4.1,5.7 0,2.8 -4.1,5.7 -2.7,.9 -6.7,-2.2 -1.7,-2.2z",
    "student": "M-5,0 a5,5 0 1,0 10,0 a5,5 0 1,0 -10,0z",
    "control": "M-4.6,-4.6 h9.2 v9.2 h-9.2z",
    "subnet": "M0,-6 L6,0 0,6 -6,0z",
    "compress": "M-5.5,-4.5 h11 L0,5.5z",
    "export": "M-5.5,4.5 h11 L0,-5.5z",
}
"""The same shapes as SVG paths around the origin, for the page's legend."""
SERIES = ("#0b63b0", "#b8680a", "#0a7d5b", "#8a4fbf", "#c8324b", "#5b6570")
"""Colours of lines that do not belong to a group."""
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"} | {
    colour: f"--{group}" for group, colour in COLOURS.items() if group != "teacher"
}
WIDTH_INCHES, HEIGHT_INCHES = 4.7, 3.3
WIDE_INCHES = 9.7
"""Width of a figure over the page's whole width."""


@dataclass(frozen=True)
class Drawing:
    """A rendered figure."""

    name: str
    """File name without suffix, unique in a report."""
    title: str
    caption: str
    svg: str
    png: bytes
    wide: bool = False
    """Whether it has the page's whole width."""


@dataclass
class Hover:
    """Texts shown over marks of a chart, by the mark's id."""

    texts: dict[str, str] = field(default_factory=dict)

    def id_for(self, text: str) -> str:
        """Register a text and return the id that the mark must carry."""
        name = f"mark{len(self.texts)}"
        self.texts[name] = text
        return name


@contextmanager
def chart(height: float = HEIGHT_INCHES) -> Iterator[tuple[Any, Any, Hover]]:
    """Give a styled figure with its axes and hover texts, and free it afterwards.

    Args:
        height: height of the figure, in inches.
    """
    with chart_grid(1, 1, WIDTH_INCHES, height) as (figure, axes, hover):
        yield figure, axes[0], hover


@contextmanager
def chart_grid(rows: int, columns: int, width: float, height: float) -> Iterator[tuple[Any, list[Any], Hover]]:
    """Give a styled figure with several axes, row by row.

    Args:
        rows: number of rows of axes.
        columns: number of columns of axes.
        width: width of the figure, in inches.
        height: of the figure, in inches.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_style()):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat), Hover()


def _style() -> dict[str, Any]:
    return {
        "svg.hashsalt": "ganpress",  # without it the ids differ in every file
        "svg.fonttype": "none",  # text stays text: small files, selectable, in the page's font
        "svg.id": None,
        "font.family": "DejaVu Sans",  # it comes with matplotlib, so the layout is the same on every system
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "text.color": INK,
        "lines.linewidth": 1.6,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "path.simplify": True,
    }


def settle(figure: Any) -> None:
    """Compute the figure's layout once and freeze it, so that measured sizes hold in both media and drawing is
    quick.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine(None)


def finish(figure: Any, hover: Hover, name: str, title: str, caption: str, wide: bool = False) -> Drawing:
    """Render a figure in both media."""
    from matplotlib import rc_context

    settle(figure)
    svg, png = io.StringIO(), io.BytesIO()
    with rc_context(_style()):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        figure.savefig(png, format="png", dpi=160, facecolor=PAPER, metadata={"Software": None})
    return Drawing(
        name, title, caption, themed_svg(svg.getvalue(), name, f"{title}. {caption}", hover.texts), png.getvalue(), wide
    )


def themed_svg(svg: str, prefix: str, label: str, hover: Mapping[str, str]) -> str:
    """Prepare matplotlib's SVG for the page: colours from CSS, unique ids, hover texts, no namespaces or URLs.

    Args:
        svg: the document from matplotlib.
        prefix: prefix of every id, because one page contains many drawings.
        label: text for screen readers.
        hover: hover text by the mark's id.
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _adapt(value, _local(key), prefix) for key, value in element.attrib.items()}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "metadata":
                parent.remove(child)
    for element in root.iter("g"):
        text = hover.get(element.get("id", "").removeprefix(f"{prefix}-"))
        if text is not None:
            title = ElementTree.Element("title")
            title.text = text
            element.insert(0, title)
            element.set("class", "mark")
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": label, "class": "chart"}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _adapt(value: str, name: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href":
        return f"#{prefix}-{value.removeprefix('#')}"
    value = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", value)
    value = re.sub(r"font: ([\d.]+)px [^;]*", r"font-size: \1px", value)
    for colour, variable in _VARIABLES.items():
        value = value.replace(colour, f"var({variable})")
    return value
