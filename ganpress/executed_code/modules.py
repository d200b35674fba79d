"""Reads the modules of a project, each once; results are cached by content in a file below .ganpress/."""

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ganpress.basics.whole_files import write_whole
from ganpress.errors import ConfigError
from ganpress.executed_code.extensions import installed
from ganpress.executed_code.registry_cuts import registries_of
from ganpress.executed_code.statements import Statement, read_statements, statement_of

PACKAGES = ("ganpress", "models", "tasks")
OBSERVERS = ("ganpress.executed_code", "ganpress.basics.progress", "ganpress.basics.telemetry", "ganpress.tracking")
"""Modules that observe a stage, or run observers, and cannot change its outputs (docs/design.md, section 3). They are
not part of any digest, and neither are modules that only they import.
"""
CACHE = Path(".ganpress") / "executed-code.json"


@dataclass(frozen=True)
class Module:
    """The content of a module."""

    name: str
    path: Path
    statements: tuple[Statement, ...]

    @property
    def package(self) -> str:
        """Its package; the module itself if it is one."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @cached_property
    def bound(self) -> dict[str, list[int]]:
        """Each name -> the numbers of the statements that bind it."""
        found: dict[str, list[int]] = defaultdict(list)
        for number, statement in enumerate(self.statements):
            for name in statement.binds:
                found[name].append(number)
        return dict(found)


class Modules:
    """The project's own modules below a root, without observers; each is read when it is first needed.

    Args:
        root: the folder of the packages.
        cache: the file with cached results; None caches nothing.
    """

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root, self.cache = root, cache
        self._read: dict[str, Module] = {}
        self._data: dict[str, Mapping[str, str]] = {}
        self._is_new = False

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Return the file of each module by the module's name."""
        return dict(_module_paths(self.root))

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return _load(self.cache)

    def __contains__(self, name: str) -> bool:
        return name in self.paths

    def __getitem__(self, name: str) -> Module:
        """Return a module.

        Raises:
            ConfigError: if its file is not Python.
        """
        if name not in self._read:
            path = self.paths[name]
            self._read[name] = Module(name, path, self._statements(name, path))
        return self._read[name]

    def below(self, package: str) -> list[str]:
        """Return the names of all modules of a package, including the package."""
        return [name for name in self.paths if name == package or name.startswith(f"{package}.")]

    @staticmethod
    def is_observer(name: str) -> bool:
        """Return whether a dotted name stands for an observer, or for a name in one."""
        return any(name == observer or name.startswith(f"{observer}.") for observer in OBSERVERS)

    def path_of(self, name: str) -> str:
        """Return the file of a module, relative to the root."""
        return self.paths[name].relative_to(self.root).as_posix()

    def data_of(self, package: str) -> Mapping[str, str]:
        """Return path and digest of each data file in a package's folder, or in its sub-folders that are not
        packages.
        """
        if package not in self._data:
            folder = self.root.joinpath(*package.split("."))
            files = sorted(_data_files(folder)) if folder.is_dir() else []
            self._data[package] = {
                path.relative_to(self.root).as_posix(): _digest(path.read_bytes())[:32] for path in files
            }
        return self._data[package]

    def state(self) -> str:
        """Return a digest of every current file, of extensions, and of the code that reads them."""
        files = [path for package in PACKAGES for path in (self.root / package).rglob("*") if path.suffix != ".pyc"]
        lines = [f"{path} {_digest(path.read_bytes())}" for path in sorted(files) if path.is_file()]
        lines += [f"{one.group} {one.name} {one.package} {one.digest()}" for one in installed()]
        return _digest("\n".join([_reader_version(), *lines]).encode())

    def save(self) -> None:
        """Store the cache if it has changed; a folder that cannot be written only costs time."""
        if self.cache is None or not self._is_new:
            return
        with contextlib.suppress(OSError):
            write_whole(self.cache, json.dumps({"reader": _reader_version(), "modules": self._kept}))

    def _statements(self, name: str, path: Path) -> tuple[Statement, ...]:
        source = path.read_bytes()
        digest, kept = _digest(source), self._kept.get(name)
        if kept is not None and kept["digest"] == digest:
            return tuple(map(statement_of, kept["statements"]))
        try:
            text = source.decode("utf-8")
            found = read_statements(text, name, path.name == "__init__.py", registries_of(name))
        except (SyntaxError, ValueError) as error:
            raise ConfigError(f"{path} is not valid Python ({error}); correct it and run again") from None
        self._kept[name] = {"digest": digest, "statements": list(map(asdict, found))}
        self._is_new = True
        return found


def _module_paths(root: Path) -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not Modules.is_observer(name):
                yield name, path


def _data_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a package, including those in sub-folders that are not packages."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not (path / "__init__.py").exists():
                yield from _data_files(path)
        elif path.suffix not in (".py", ".pyc") and not path.name.startswith("."):
            yield path


def _load(cache: Path | None) -> dict[str, Any]:
    """Return the cached results; none if the file is missing, damaged, or from another version of this package."""
    try:
        content = json.loads(cache.read_bytes()) if cache is not None else {}
    except (OSError, ValueError):
        return {}
    ours = isinstance(content, dict) and content.get("reader") == _reader_version()
    return content["modules"] if ours and isinstance(content.get("modules"), dict) else {}


@lru_cache(maxsize=1)
def _reader_version() -> str:
    """Return a digest of this package, because any change of it may change how modules are read."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return _digest(b"".join(path.read_bytes() for path in files))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
