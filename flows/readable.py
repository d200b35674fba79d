"""Tables that fit the width of the terminal: where the columns do not fit, each row becomes a block of lines.

Rich cuts cells that do not fit ("27…"), and a number that is cut is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

INDENT = 4


@dataclass(frozen=True)
class Line:
    """One row: its name, a cell for each column, and a style of Rich for all of it."""

    name: str
    cells: tuple[str, ...]
    style: str = ""


def print_lines(
    console: "Console", first: str, headings: Sequence[str], lines: Sequence[Line], chosen: str | None = None
) -> None:
    """Print rows as a table if all columns fit, else one below the other; no cell is cut or wrapped.

    Args:
        console: where to print.
        first: heading of the names.
        headings: heading of each column; words are put below each other where that makes a column narrower.
        lines: the rows.
        chosen: heading to print bold.
    """
    table = _table(first, headings, lines, chosen)
    wide = console.options.update(width=10_000)
    if console.measure(table, options=wide).maximum <= console.width:
        console.print(table)
    else:
        print_blocks(console, headings, lines, chosen)


def _table(first: str, headings: Sequence[str], lines: Sequence[Line], chosen: str | None) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        style = "bold" if heading == chosen else ""
        table.add_column(Text("\n".join(heading.split()), style), justify="right", no_wrap=True)
    for line in lines:
        table.add_row(Text(line.name), *map(Text, line.cells), style=line.style or None)
    return table


def print_blocks(console: "Console", headings: Sequence[str], lines: Sequence[Line], chosen: str | None = None) -> None:
    """Print each row as its name and a line for each column that has a value."""
    from rich.text import Text

    longest = max(map(len, headings), default=0)
    for line in lines:
        console.print(Text(line.name, line.style or "bold"))
        for heading, cell in zip(headings, line.cells, strict=True):
            if not cell:
                continue
            if INDENT + longest + 2 + len(cell) <= console.width:
                text = f"{' ' * INDENT}{heading:<{longest}}  {cell}"
                console.print(Text(text, "bold" if heading == chosen else ""))
            else:  # A long text, such as a path, has lines of its own.
                console.print(Text(f"{' ' * INDENT}{heading}"))
                console.print(Text(f"{' ' * 2 * INDENT}{cell}"))
