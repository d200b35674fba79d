"""A table of numbers as values, which both the page and the Markdown show."""

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
    """A number as it is written, and as it was measured (None: not measured)."""

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
    """`family:spec`, where known."""


@dataclass(frozen=True)
class RowGroup:
    """Rows that belong together, mostly those of one stage."""

    title: str
    """Empty where the table has one group only."""
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
    """Write a number; it counts as the best where it equals `best` as far as it is shown."""
    if value is None:
        return Cell(MISSING, None)
    text = write(value)
    return Cell(text, value, best is not None and text == write(best))
