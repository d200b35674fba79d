"""Checks that a model file names only functions with pinned sources, which are compared before any is imported.

A model file of an imported generator holds the text `module:function`. Importing a module runs its code, and that of
the packages that it lies in, so a file of a stranger's must not choose what is imported. A *pin* is the digest of
each source file that an import of the function reads: its module, the packages above it, and the modules beside it
that these import. All are found on Python's search path without importing anything.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from models.user_modules import file_of, find_source, is_own, is_path, look_here, split_factory

Sources = Mapping[str, str]
"""Name of a module -> sha256 of its file."""

INSTALLED = frozenset({"site-packages", "dist-packages"})
LARGEST_SOURCE_BYTES = 16 * 2**20
MOST_SOURCES = 1_000
"""Files that one pin may hold."""

_pinned: dict[str, list[Sources]] = {}
_verified: set[str] = set()


def sources_of(factory: str) -> dict[str, str]:
    """The pin of a function: digests of its module, the packages above it, and the modules beside it that they import.

    Raises:
        ValueError: if the text is malformed, the module has no file, or the files are too many, too large or no Python.
    """
    module, _ = split_factory(factory)
    look_here()
    start = find_source(module)
    if start is None:
        raise ValueError(f"module '{module}' has no source file that could be pinned")
    inside, beside = _neighbourhood(module, start), _beside(module)
    found: dict[str, str] = {}
    waiting = list(_with_parents(module))
    while waiting:
        name = waiting.pop()
        path = None if name in found else find_source(name, beside)
        if path is None or not _belongs(name, path, inside):
            continue
        if len(found) == MOST_SOURCES:
            raise ValueError(f"module '{module}' imports more than {MOST_SOURCES:,} files beside it")
        content = _content(path)
        found[name] = hashlib.sha256(content).hexdigest()
        if path.suffix == ".py":
            waiting += _imports(name, path, content)
    return dict(sorted(found.items()))


def _beside(module: str) -> Path | None:
    """The folder whose modules a file that is named by its path finds first."""
    return file_of(module).parent if is_path(module) else None


def _neighbourhood(module: str, path: Path) -> str | Path:
    """Return where a module's neighbours are: its own package if it is installed, otherwise its folder."""
    if is_path(module):
        return path.parent
    top = module.partition(".")[0]
    if INSTALLED & set(path.parts) or Path(sys.base_prefix) in path.parents:
        return top
    return path.parents[module.count(".") + (path.stem == "__init__")]


def _belongs(name: str, path: Path, inside: str | Path) -> bool:
    if is_own(path):
        return False
    top = name.partition(".")[0]
    return top == inside if isinstance(inside, str) else inside in path.parents and not INSTALLED & set(path.parts)


def _with_parents(module: str) -> Iterator[str]:
    parts = [module] if is_path(module) else module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST_SOURCE_BYTES:
        raise ValueError(f"{path} has more than {LARGEST_SOURCE_BYTES:,} bytes: too large for a source file")
    return path.read_bytes()


def _imports(name: str, path: Path, content: bytes) -> list[str]:
    """Every module that a source file may import, anywhere in it."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # it cannot be imported either, and the import says why
    package = name if path.stem == "__init__" else "" if is_path(name) else name.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [one for alias in node.names for one in _with_parents(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found += [*_with_parents(origin), *(f"{origin}.{alias.name}" for alias in node.names)]
    return [one for one in dict.fromkeys(found) if one and ".." not in one and one[0] != "." and not one.endswith("*")]


def changed_source(factory: str, sources: Sources) -> str | None:
    """Return the difference to a pin in words; None if every file that an import runs is the pinned one.

    Raises:
        ValueError: if `factory` is malformed.
    """
    module, _ = split_factory(factory)
    look_here()
    for name in _with_parents(module):
        path = find_source(name)
        if path is not None and name not in sources:
            return f"{path} was not there at the import"
    if module not in sources:
        return f"module '{module}' is not found"
    for name, digest in sources.items():
        path = find_source(name, _beside(module))
        if path is None:
            return f"module '{name}' is not found"
        if hashlib.sha256(_content(path)).hexdigest() != digest:
            return f"{path} has changed since the import"
    return None


def pin_factory(factory: str, sources: Sources) -> None:
    """Let model files that are loaded by this process name `factory`, while its sources are these."""
    known = _pinned.setdefault(factory, [])
    if sources not in known:
        known.append(dict(sources))


def check_pins(factory: str) -> str | None:
    """Compare the sources of `factory` with its pins, importing nothing.

    Returns:
        None where one of the pins holds; else what is wrong with the last one, or an empty text where there is no pin.
    """
    reason = ""
    for sources in _pinned.get(factory, ()):
        found = changed_source(factory, sources)
        if found is None:
            _verified.add(factory)
            return None
        reason = found
    _verified.discard(factory)
    return reason


def require_pinned(factory: str) -> None:
    """Refuse a function that is not pinned, before it is imported; one that was checked in this process passes at once.

    Raises:
        ValueError: saying what to do.
    """
    if factory in _verified:
        return
    reason = check_pins(factory)
    if reason is not None:
        raise ValueError(refusal(factory, reason))


def refusal(factory: str, reason: str) -> str:
    """One line about a function that is not to be imported."""
    shown = factory[:100] if factory.isprintable() else ascii(factory)[:100]
    if reason:
        return f"'{shown}': {reason}; nothing was run: restore it, or run `ganpress import {shown} …` again"
    return (
        f"it is built by '{shown}', code that is not pinned in this project, and nothing of it was run; if you trust "
        f"it, run `ganpress import {shown} …`"
    )
