"""Which source files each stage of dvc.yaml must list: the first-party imports of tasks/<stage>.py, transitively."""

import ast
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.errors import ConfigError
from ganpress.whole_files import write_whole

PACKAGES = ("ganpress", "models", "tasks")
OBSERVERS = ("ganpress/tracking", "ganpress/progress.py", "ganpress/telemetry.py")
"""Watch a stage or keep watchers from it, and cannot change its outputs (docs/design.md, section 3); what they import
counts for nobody."""


@dataclass(frozen=True)
class StageSources:
    """The source files that a stage imports, and those that dvc.yaml says it does. Paths are relative to the root."""

    stage: str
    imported: tuple[str, ...]
    declared: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Imported, but not among the deps: an edit would leave the stage stale."""
        return tuple(path for path in self.imported if path not in self.declared)

    @property
    def surplus(self) -> tuple[str, ...]:
        """Among the deps, but not imported: an edit would run the stage for nothing."""
        return tuple(path for path in self.declared if path not in self.imported)


def source_closure(root: Path, module_file: Path) -> tuple[str, ...]:
    """All first-party files that importing `module_file` can run, itself included, sorted; observers left out.

    Imports inside functions count. A package's `__init__.py` counts when it holds anything.

    Raises:
        ConfigError: if a file uses a relative import, which house rules forbid and this reading would miss.
    """
    closure: set[Path] = set()
    waiting = [module_file]
    while waiting:
        file = waiting.pop()
        if file in closure or _is_observer(root, file):
            continue
        closure.add(file)
        waiting += [imported for name in _imported_names(root, file) for imported in _files_of(root, name)]
    return tuple(sorted(file.relative_to(root).as_posix() for file in closure))


def compare_sources(root: Path) -> list[StageSources]:
    """For each stage of dvc.yaml: what its module imports beside what it declares.

    Raises:
        ConfigError: if a stage has no module in tasks/.
    """
    return [
        StageSources(name, source_closure(root, _module_of(root, name)), tuple(filter(_is_source, _paths(entry))))
        for name, entry in _stage_entries(_load(root / "dvc.yaml"))
    ]


def write_sources(root: Path) -> list[str]:
    """Rewrite the source deps of dvc.yaml, keeping comments, order and all other deps; return the stages changed."""
    path = root / "dvc.yaml"
    content = _load(path)
    changed = []
    for name, entry in _stage_entries(content):
        imported = list(source_closure(root, _module_of(root, name)))
        deps = entry.get("deps", [])
        if [dep for dep in deps if _is_source(dep)] == imported:
            continue
        for index in reversed([index for index, dep in enumerate(deps) if _is_source(dep)]):
            del deps[index]
        for index, dep in enumerate(imported):
            deps.insert(index, dep)
        entry["deps"] = deps
        changed.append(name)
    if changed:
        buffer = io.StringIO()
        _yaml().dump(content, buffer)
        write_whole(path, buffer.getvalue())
    return changed


def _imported_names(root: Path, file: Path) -> Iterator[str]:
    """Yield dotted names that a file imports; of `from a import b` both `a` and `a.b`, as b may be a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                where = f"{file.relative_to(root)}:{node.lineno}"
                raise ConfigError(
                    f"{where} uses a relative import; write the full name, so that dvc.yaml can follow it"
                )
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs: the module, and each package above it that holds code."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return
    for length in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:length])
        package, module = place / "__init__.py", place.with_suffix(".py")
        if package.is_file():
            if _holds_code(package):
                yield package
        elif module.is_file():
            yield module


def _holds_code(package: Path) -> bool:
    """A docstring alone cannot change an output."""
    body = ast.parse(package.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def _is_observer(root: Path, file: Path) -> bool:
    path = file.relative_to(root).as_posix()
    return any(path == observer or path.startswith(f"{observer}/") for observer in OBSERVERS)


def _is_source(dep: object) -> bool:
    return isinstance(dep, str) and dep.endswith(".py") and dep.split("/")[0] in PACKAGES


def _module_of(root: Path, stage: str) -> Path:
    module = root / "tasks" / f"{stage}.py"
    if not module.is_file():
        raise ConfigError(f"dvc.yaml has a stage '{stage}', but tasks/{stage}.py does not exist")
    return module


def _stage_entries(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Name and body of each stage; the body of a foreach stage is its `do`."""
    return [(name, entry.get("do", entry)) for name, entry in content["stages"].items()]


def _paths(entry: Mapping[str, Any]) -> list[str]:
    return [dep if isinstance(dep, str) else next(iter(dep)) for dep in entry.get("deps", [])]


def _load(path: Path) -> Any:
    return _yaml().load(path.read_text(encoding="utf-8"))


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
