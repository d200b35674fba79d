"""Registries whose entries count one by one: what is registered under a name that nobody names is not executed.

A name is met by a stage in its own parameters, in the code that it reaches, or in a file that a stage upstream wrote,
which met it in one of these ways. Where code goes through all entries of a registry, all of them count, unless
the table says that the others cannot matter.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cut:
    """How the entries of one registry count."""

    only_named: bool = False
    """Whether entries that nobody names cannot matter even where code goes through all of them: it then compares names,
    or lists them in a message."""
    found_by: str = ""
    """Another registry by whose names code looks entries of this one up: an entry that holds one of them counts."""


CUTS: dict[str, Cut] = {
    "ganpress.registries:COMPRESSORS": Cut(only_named=True),
    "ganpress.registries:METRICS": Cut(),
    "ganpress.registries:SOURCES": Cut(only_named=True),
    "ganpress.registries:TARGETS": Cut(only_named=True),
    "models.builders:BUILDERS": Cut(only_named=True),
    "models.families:FAMILIES": Cut(only_named=True, found_by="models.builders:BUILDERS"),
}
"""`module:name` of each registry. One that is absent, or of a form whose entries cannot be told apart, counts whole."""


def registries_of(module: str) -> frozenset[str]:
    """Names in a module whose entries count one by one."""
    return frozenset(place.partition(":")[2] for place in CUTS if place.partition(":")[0] == module)
