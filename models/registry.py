"""Tables from names to objects: ours by the place where they are defined, others' by entry points.

An object is imported when its name is first looked up, so a table costs its reader nothing but itself. Another package
adds to a table by an entry point of the table's group; these are read only when a name is not built in, or all are
listed.
"""

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

T = TypeVar("T")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Registry(Mapping[str, T]):
    """Objects of one kind by name, the built-in ones first.

    Args:
        kind: what one of them is called in messages.
        group: of the entry points by which other packages add theirs.
        base: class of all of them, as `package.module:Class`.
        error: what is raised; its message is one line.
        built_in: name -> `package.module:OBJECT`.
    """

    def __init__(self, kind: str, group: str, base: str, error: type[Exception], built_in: Mapping[str, str]) -> None:
        self.kind, self.group, self.built_in = kind, group, built_in
        self._base, self._error = base, error
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            self._loaded[name] = (
                _resolve(self.built_in[name]) if name in self.built_in else self._foreign(self._added[name])
            )
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in  # whoever finds what he seeks among these reads no entry point
        yield from self._added

    def __len__(self) -> int:
        return len(self.built_in) + len(self._added)

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._added

    def find(self, name: str) -> T:
        """Look up a name that a user gave.

        Raises:
            Exception: of the registry's own kind, if there is none, or it cannot be used.
        """
        if name not in self:
            raise self._error(self.unknown(name))
        return self[name]

    def unknown(self, name: str) -> str:
        """One line about a name that is not here."""
        return f"unknown {self.kind} '{ascii(name)[1:-1][:40]}'; known: {', '.join(sorted(self))}"

    def listing(self, wanted: Callable[[T], bool] | None = None) -> str:
        """The names in their order, for a message; with `wanted`, those of the objects that it accepts."""
        return ", ".join(name for name in self if wanted is None or wanted(self[name]))

    @cached_property
    def _added(self) -> dict[str, EntryPoint]:
        """Entry points by name; none is imported."""
        found: dict[str, EntryPoint] = {}
        for entry in sorted(entry_points(group=self.group), key=lambda one: one.name):
            if not NAME.fullmatch(entry.name):
                raise self._refusal(entry, "a name is at most 40 small letters, digits, '_' and '-', a letter first")
            if entry.name in self.built_in:
                raise self._refusal(entry, f"ganpress has a {self.kind} of that name; it must choose another")
            if entry.name in found and entry.value != found[entry.name].value:
                raise self._refusal(entry, f"so does {_package(found[entry.name])}; uninstall one of them")
            found[entry.name] = entry
        return found

    def _foreign(self, entry: EntryPoint) -> T:
        try:
            found: T = entry.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise self._refusal(entry, f"{entry.value} cannot be imported ({reason}); fix or uninstall it") from error
        if not isinstance(found, _resolve(self._base)) or getattr(found, "name", entry.name) != entry.name:
            wanted = self._base.partition(":")[2]
            raise self._refusal(entry, f"{entry.value} is no {wanted} of that name; fix or uninstall it")
        return found

    def _refusal(self, entry: EntryPoint, reason: str) -> Exception:
        return self._error(f"{_package(entry)} adds the {self.kind} {ascii(entry.name)[:60]}: {reason}")


def _package(entry: EntryPoint) -> str:
    return f"the package '{entry.dist.name}'" if entry.dist is not None else "a package"


def _resolve(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
