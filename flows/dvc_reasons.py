"""Explains why DVC reports a stage as changed: its command, files, parameters or outputs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganpress.executed_code.digests import StageCode, changed_files, md5_of, read_digests
from ganpress.executed_code.stages import CODE_FOLDER

Kind = Literal["own", "input", "output", "upstream"]

MAX_NAMED_CHANGES = 3
NEVER_RUN = "never run"


@dataclass(frozen=True)
class Reason:
    """One reason why a stage is not clean."""

    kind: Kind
    """`own`: a change of the stage itself (command, parameter, source or data file); `input`: a file that an upstream
    stage makes; `output`: a missing output that is in DVC's cache; `upstream`: an upstream stage would run."""
    words: str

    def __str__(self) -> str:
        return self.words


def causes(stage: Any, upstream: list[Any]) -> list[Reason]:
    """Return the changed dependencies, parameters and command of a stage."""
    if not any(dep.hash_info for dep in stage.deps) and not any(out.hash_info for out in stage.outs):
        return [Reason("own", NEVER_RUN)]
    found = [Reason("own", "its command in dvc.yaml changed")] if stage.changed_stage() else []
    for dep in () if stage.frozen else stage.deps:
        status = dep.workspace_status()
        if not status:
            continue
        if is_params(dep):
            found += [Reason("own", words) for words in _param_changes(dep, status)]
        else:
            verb = {"deleted": "missing", "new": "new"}.get(status[str(dep)], "changed")
            found.append(Reason("input" if _is_made_by(upstream, dep) else "own", f"{dep.def_path} {verb}"))
    return found


def take_code(stage: Any) -> Any:
    """Remove the digest of its code from a stage's dependencies and return it; None if it has none.

    The digest's file is as old as the last run, so `code_changes` compares the present code instead of DVC.
    """
    of_code = next((dep for dep in stage.deps if dep.def_path.startswith(f"{CODE_FOLDER}/")), None)
    stage.deps = [dep for dep in stage.deps if dep is not of_code]
    return of_code


def code_changes(of_code: Any, root: Path, code: StageCode) -> list[Reason]:
    """Return the reason if a stage's code differs from the code that made its outputs, with the changed files if
    known.
    """
    if of_code is None or of_code.def_path not in code.paths:
        return []
    locked = of_code.hash_info.value if of_code.hash_info else None
    if locked is None:
        return [Reason("own", "dvc.lock does not record the code it ran with")]
    if locked == md5_of(code.text(of_code.def_path)):
        return []
    before = read_digests(root / of_code.def_path)
    if md5_of(before) != locked:
        return [Reason("own", "its code changed")]
    files = changed_files(before, code.text(of_code.def_path))
    more = [f"{len(files) - MAX_NAMED_CHANGES} more"] if len(files) > MAX_NAMED_CHANGES else []
    return [Reason("own", f"code changed: {', '.join([*files[:MAX_NAMED_CHANGES], *more])}")]


def is_params(dep: Any) -> bool:
    """Return whether a dependency is a set of parameters, not a file."""
    return hasattr(dep, "params")


def _is_made_by(stages: list[Any], dep: Any) -> bool:
    path = Path(dep.fs_path)
    outs = [Path(out.fs_path) for stage in stages for out in stage.outs]
    return any(out.is_relative_to(path) or path.is_relative_to(out) for out in outs)


def _param_changes(dep: Any, status: dict[str, Any]) -> list[str]:
    """Return the changed values below the declared parameters: `params.yaml: teacher.images 1000 -> 500`."""
    if not isinstance(status[str(dep)], dict):
        return [f"{dep.def_path} missing"]
    locked, actual = dep.hash_info.value or {}, dep.read_params()
    leaves = [
        leaf
        for name in status[str(dep)]
        for leaf in _differences(name, locked.get(name, _ABSENT), actual.get(name, _ABSENT))
    ]
    rest = len(leaves) - MAX_NAMED_CHANGES
    named = [f"{dep.def_path}: {leaf}" for leaf in leaves[:MAX_NAMED_CHANGES]]
    return [*named, f"{dep.def_path}: {rest} more"] if rest > 0 else named


_ABSENT = object()


def _differences(name: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        pairs = ((key, old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in keys)
        return [leaf for key, one, other in pairs for leaf in _differences(f"{name}.{key}", one, other)]
    if old == new:
        return []
    if old is _ABSENT:
        return [f"{name} is new"]
    return [f"{name} is gone"] if new is _ABSENT else [f"{name} {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def losses(stage: Any) -> list[Reason]:
    """Return the outputs that differ from what DVC wrote; those in its cache are restored without work."""
    found = []
    for out in stage.outs:
        status = out.workspace_status().get(str(out))
        if not out.hash_info:
            continue
        cached = not (out.use_cache and out.changed_cache())
        if status is not None:
            words = (
                f"output {out.def_path} missing"
                if status == "deleted"
                else f"output {out.def_path} was changed by hand"
            )
            found.append(Reason("output" if cached else "own", words))
        elif not cached:
            found.append(Reason("own", f"output {out.def_path} is not in DVC's cache"))
    return found
