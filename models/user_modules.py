"""A user's Python files: found without running anything, and run so that neither they nor ganpress notice the other.

A function is named `module:function`, where the module is `my_module`, `package.module`, or a path, `gen/my_module.py`.
Files named by a path may bear any name, `models.py` for one, and import what lies beside them by any name: while they
run, those names are theirs, and afterwards they are what they were.
"""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OWN_PACKAGES = frozenset({"flows", "ganpress", "models", "tasks"})
"""This project's own code is no part of a user's sources."""
HOME = Path(__file__).resolve().parents[1]
SUFFIX = ".py"
LONGEST_PATH = 1_024
WORKTREES = (".ganpress", "worktrees")
"""Folder below a project's root with the copies in which runs with other parameters work."""

_theirs: dict[Path, dict[str, ModuleType]] = {}
"""Folder of a user's file -> the modules that were imported from there."""


class _OwnPackages:
    """Lets this project's packages be found where they are, whatever a user's folder holds."""

    @staticmethod
    def find_spec(name: str, path: object = None, _target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(HOME)]) if path is None and name in OWN_PACKAGES else None


def split_factory(factory: str) -> tuple[str, str]:
    """Take `module:function` apart.

    Raises:
        ValueError: if it is not written so.
    """
    module, colon, function = factory.rpartition(":")
    dotted = all(part.isidentifier() for part in module.split("."))
    path = is_path(module) and module.isprintable() and len(module) <= LONGEST_PATH
    if not colon or not function.isidentifier() or not (dotted or path):
        raise ValueError(
            f"{factory[:100]!r} does not name a function; write module:function, e.g. my_module:build_generator or "
            "gen/my_module.py:build_generator"
        )
    return module, function


def is_path(module: str) -> bool:
    """Whether a module is named by its file."""
    return module.endswith(SUFFIX) and Path(module).stem.isidentifier()


def file_of(module: str) -> Path:
    """The file that a path names, from the working directory or the project whose worktree that is."""
    folders = search_folders()
    return next((folder / module for folder in folders if (folder / module).is_file()), folders[0] / module).resolve()


def search_folders() -> list[Path]:
    """Return the folders with a user's modules: the working directory, and the project if that is one of its
    worktrees.
    """
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if folder.parent.parts[-2:] == WORKTREES), None)
    return [here] if root is None else [here, root.parents[2]]


def look_here() -> str:
    """Put the folders of a user's modules first on Python's search path, as `python -m` does; return the first."""
    here = list(map(str, search_folders()))
    added = [one for one in here if one not in sys.path]
    if added:
        sys.path[:0] = added
        importlib.invalidate_caches()
    if not any(isinstance(one, type) and one is _OwnPackages for one in sys.meta_path):
        sys.meta_path.insert(0, _OwnPackages)
    return here[0]


def find_source(module: str, beside: Path | None = None) -> Path | None:
    """The file that `import module` would run, found without importing it or the packages above it; None without one.

    Args:
        module: a path, or a dotted name; a built-in module and a package without `__init__.py` have no file.
        beside: a folder that is looked into first.
    """
    if is_path(module):
        file = file_of(module)
        return file if file.is_file() else None
    path: list[str] | None = None
    found = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        if count > 1 and path is None:
            return None  # the part above is a module, not a package
        name = ".".join(parts[:count])
        near = PathFinder.find_spec(name, [str(beside)]) if beside is not None and count == 1 else None
        specs = (finder.find_spec(name, path) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        found = near or next((spec for spec in specs if spec is not None), None)
        if found is None:
            return None
        path = _locations(found.submodule_search_locations)
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


def _locations(found: list[str] | None) -> list[str] | None:
    if found is None:
        return None
    try:
        return list(found)
    except KeyError:  # a package without __init__.py inside another one asks the other, which is not imported
        return list(getattr(found, "_path", []))


def is_own(path: Path) -> bool:
    """Whether a file belongs to this project's packages."""
    return any(HOME / name in path.parents for name in OWN_PACKAGES)


def import_users(module: str) -> ModuleType:
    """Import a user's module; call it inside `users_turn`.

    Raises:
        Exception: whatever its code raises.
    """
    if not is_path(module):
        return importlib.import_module(module)
    file = file_of(module)
    name = f"users_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[name]
        raise
    return made


@contextmanager
def users_turn(module: str) -> Iterator[None]:
    """While inside, a user's code runs: it sees no command line, and of a path's folder its own modules.

    Raises:
        ValueError: if it ends the program, as one that reads its command line does.
    """
    arguments, sys.argv = sys.argv, [module]
    try:
        if is_path(module):
            with _own_names(file_of(module).parent):
                yield
        else:
            yield
    except SystemExit as error:
        raise ValueError(
            f"it ends the program ({error}): put what reads the command line below `if __name__ == '__main__':`"
        ) from None
    finally:
        sys.argv = arguments


@contextmanager
def _own_names(folder: Path) -> Iterator[None]:
    """Let the modules of a folder be those that their names mean."""
    names = {one.stem for one in folder.iterdir() if one.suffix == SUFFIX or one.is_dir()}
    others = {
        name: one for name, one in sys.modules.items() if name.partition(".")[0] in names and not _is_in(one, folder)
    }
    for name in others:
        del sys.modules[name]
    sys.modules.update(_theirs.get(folder, {}))
    finders = [one for one in sys.meta_path if one is not _OwnPackages]
    before, sys.meta_path[:] = list(sys.meta_path), finders
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.meta_path[:] = before
        theirs = {
            name: one for name, one in sys.modules.items() if name.partition(".")[0] in names and _is_in(one, folder)
        }
        _theirs.setdefault(folder, {}).update(theirs)
        for name in theirs:
            del sys.modules[name]
        sys.modules.update(others)


def _is_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and folder in Path(file).resolve().parents and not is_own(Path(file).resolve())
