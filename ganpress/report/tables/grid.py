"""A table of numbers as values, for both the page and the Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from ganpress.report.content import Group
from ganpress.report.notation import MISSING, Writer


@dataclass(frozen=True)
class Heading:
    """A column heading with its protocol."""

    key: str
    title: str
    protocol: str = ""
    meaning: str = ""
    more_first: bool = False
    """Whether the largest value comes first when sorted."""


@dataclass(frozen=True)
class Cell:
    """A number as text, and its value (None if it was not measured)."""

    text: str
    value: float | None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One generator's cells."""

    reference: str
    group: Group
    cells: Sequence[Cell]
    network: str = ""
    """Network as `family:spec`, if known."""


@dataclass(frozen=True)
class RowGroup:
    """Rows that belong together, usually those of one stage."""

    title: str
    """Title of the group; empty if the table has only one."""
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    """A whole table."""

    name: str
    caption: str
    headings: Sequence[Heading]
    groups: Sequence[RowGroup]
    first: str = "generator"
    """Heading of the first column."""


def written(value: float | None, write: Writer, best: float | None = None) -> Cell:
    """Format a number; it is marked as the best if its text equals that of `best`."""
    if value is None:
        return Cell(MISSING, None)
    text = write(value)
    return Cell(text, value, best is not None and text == write(best))
