"""Reads what the digests need from dvc.yaml: each stage's module, the names in its parameters, and upstream stages.

DVC's templates are resolved only as far as needed to find a stage's digest, parameters and input folders.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.config.yaml_text import MAX_BYTES_OF_DVC, OF_DVC, parse_yaml, read_text

CODE_STAGE = "code"
CODE_FOLDER = "artifacts/code"
_COMMAND = re.compile(r"python(?: -P)? -m (tasks\.\w+)")
_INSTALLED = re.compile(r"^\s*cmd: python -P -m tasks\.\w", re.MULTILINE)
_TEMPLATE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class CodeStage:
    """One stage whose digest dvc.yaml names, with what the digest depends on."""

    digest_path: str
    """Path of the digest file, relative to the root."""
    module: str
    words: frozenset[str]
    """Texts in its own parameters."""
    reads: tuple[str, ...]
    """Files and folders that it reads, relative to artifacts/: `teacher/generator.safetensors`."""

    @property
    def folder(self) -> str:
        """The folder of its outputs, relative to artifacts/: `candidate/d8`."""
        return self.digest_path.removeprefix(f"{CODE_FOLDER}/")

    def is_upstream_of(self, other: "CodeStage") -> bool:
        """Return whether the other stage reads anything that this one writes."""
        own = f"{self.folder}/"
        return any(own.startswith(f"{path}/") or path.startswith(own) for path in other.reads)


def starts_installed(root: Path) -> bool:
    """Return whether the commands of dvc.yaml start the installed package, whatever the working directory contains."""
    path = root / "dvc.yaml"
    return path.is_file() and _INSTALLED.search(read_text(path, MAX_BYTES_OF_DVC)) is not None


def read_stages(root: Path) -> list[CodeStage]:
    """Read the stages of dvc.yaml that depend on a digest of their code; none if the project has no dvc.yaml.

    Raises:
        ConfigError: if dvc.yaml or params.yaml cannot be read.
    """
    path = root / "dvc.yaml"
    if not path.is_file():
        return []
    text = read_text(path, MAX_BYTES_OF_DVC)
    if f"{CODE_FOLDER}/" not in text:
        return []
    content = parse_yaml(text, str(path), OF_DVC)
    stages = content.get("stages") if isinstance(content, dict) else None
    params_path = root / "params.yaml"
    params = parse_yaml(read_text(params_path), str(params_path)) if params_path.is_file() else {}
    entries = [entry for entry in (stages or {}).values() if isinstance(entry, dict)]
    return list({one.digest_path: one for entry in entries for one in _stages_of(entry, params)}.values())


def _stages_of(entry: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[CodeStage]:
    body = entry.get("do", entry)
    command = _COMMAND.match(str(body.get("cmd", "")))
    if command is None:
        return
    for scope in _scopes(entry, params):
        deps = [_filled(dep, scope) for dep in body.get("deps", ())]
        digests = [dep for dep in deps if dep.startswith(f"{CODE_FOLDER}/")]
        named = [_lookup(params, _filled(name, scope)) for name in body.get("params", ())]
        reads = tuple(dep.removeprefix("artifacts/") for dep in deps if dep.startswith("artifacts/"))
        for digest in digests:
            yield CodeStage(digest, command[1], frozenset(_texts(named)), reads)


def _scopes(entry: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the values of the template variables for each item of a stage."""
    if "foreach" not in entry:
        yield dict(params)
        return
    items = entry["foreach"]
    name = _TEMPLATE.fullmatch(items) if isinstance(items, str) else None
    items = _lookup(params, name[1]) if name else items
    for key, item in items.items() if isinstance(items, dict) else ():
        yield {**params, "key": key, "item": item}


def _filled(text: Any, scope: Mapping[str, Any]) -> str:
    """Resolve the templates in a text of dvc.yaml."""
    first = text if isinstance(text, str) else next(iter(text), "")
    return _TEMPLATE.sub(lambda found: str(_lookup(scope, found[1])), first)


def _lookup(scope: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        scope = scope.get(key) if isinstance(scope, Mapping) else None
    return scope


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a parameter, including keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(key)
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
