"""Packages that extend ganpress by entry points: their files, and their imports from ganpress."""

import ast
import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from ganpress.executed_code.statements import parse_source

GROUP = "ganpress."
"""Prefix of the entry point groups."""


@dataclass(frozen=True)
class Extension:
    """One object that an installed package adds."""

    group: str
    """Group of its entry point, e.g. `ganpress.metrics`."""
    name: str
    package: str
    """Its top-level package, which counts completely."""

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Return the modules of the package; none if it is not found, which its use reports."""
        spec = find_spec(self.package)
        if spec is None:
            return ()
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        single = [Path(spec.origin)] if not folders and spec.origin and spec.origin.endswith(".py") else []
        return tuple(sorted([*single, *(path for folder in folders for path in folder.rglob("*.py"))]))

    def digest(self) -> str:
        """Return a digest of the bytes of its modules, independent of where they are installed."""
        parts = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in self.files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    def imports(self) -> Iterator[tuple[str, str]]:
        """Yield (module, name in it, if any) for every import by name."""
        for path in self.files:
            try:
                tree = parse_source(path.read_bytes())
            except (SyntaxError, ValueError):
                continue  # its import reports the error
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    yield from ((alias.name, "") for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    yield from ((node.module, alias.name) for alias in node.names)


@cache
def installed() -> tuple[Extension, ...]:
    """Return all extensions at the time of the first call; nothing is imported."""
    found = entry_points()
    groups = [group for group in sorted(found.groups) if group.startswith(GROUP)]
    return tuple(
        Extension(group, entry.name, entry.module.partition(".")[0])
        for group in groups
        for entry in sorted(found.select(group=group), key=lambda entry: (entry.name, entry.value))
    )


def extensions_of(groups: Collection[str]) -> list[Extension]:
    """Return the extensions of these groups."""
    return [extension for extension in installed() if extension.group in groups]
