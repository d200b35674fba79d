"""Registries whose entries count one by one: an entry whose name a stage cannot meet is not executed by it.

A stage can meet a name in its own parameters, in the code that it reaches, or in a file from an upstream stage, which
met it in one of these ways. If code iterates over all entries of a registry, all of them count, unless the table says
that the others do not matter.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """The rule by which the entries of one registry count."""

    only_named: bool = False
    """Whether entries with other names never matter, because code that iterates over all of them only compares names or
    lists them in a message.
    """
    found_by: str = ""
    """Another registry by whose names code looks up entries of this one; an entry that contains one of them counts."""
    in_files: bool = True
    """Whether later stages may look up a name that they read from this stage's files."""


CUTS: dict[str, Cut] = {
    "ganpress.registries:COMPRESSORS": Cut(only_named=True),
    "ganpress.registries:DISTANCES": Cut(only_named=True, in_files=False),
    "ganpress.registries:METRICS": Cut(),
    "ganpress.registries:SOURCES": Cut(only_named=True),
    "ganpress.registries:TARGETS": Cut(only_named=True),
    "models.builders:BUILDERS": Cut(only_named=True),
    "models.families:FAMILIES": Cut(only_named=True, found_by="models.builders:BUILDERS"),
}
"""Rules by `module:name` of each registry. Any other registry counts completely, and so does one whose entries cannot
be distinguished.
"""


def registries_of(module: str) -> frozenset[str]:
    """Return the registries in a module whose entries count one by one."""
    return frozenset(place.partition(":")[2] for place in CUTS if place.partition(":")[0] == module)
