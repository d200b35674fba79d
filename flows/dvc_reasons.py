"""Why DVC calls a stage changed, in words: its command, files, parameters, outputs."""

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
    """Why a stage is not clean."""

    kind: Kind
    """`own`: nothing upstream can cure it (command, parameter, source or data file); `input`: a file that an upstream
    stage makes; `output`: an output that is gone but in DVC's cache; `upstream`: an upstream stage would run."""
    words: str

    def __str__(self) -> str:
        return self.words


def causes(stage: Any, upstream: list[Any]) -> list[Reason]:
    """Say which dependencies, parameters or command make the stage changed."""
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
    """Take the digest of its code from a stage's dependencies and return it; None where it has none.

    Its file is as old as the last run; what DVC would say of it is said by `code_changes`, of the code as it is now.
    """
    of_code = next((dep for dep in stage.deps if dep.def_path.startswith(f"{CODE_FOLDER}/")), None)
    stage.deps = [dep for dep in stage.deps if dep is not of_code]
    return of_code


def code_changes(of_code: Any, root: Path, code: StageCode) -> list[Reason]:
    """Say that a stage's code is another than its outputs were made with, and in which files, where that is known."""
    if of_code is None or of_code.def_path not in code.paths:
        return []
    locked = of_code.hash_info.value if of_code.hash_info else None
    if locked is None:
        return [Reason("own", "dvc.lock does not say with which code it ran")]
    if locked == md5_of(code.text(of_code.def_path)):
        return []
    before = read_digests(root / of_code.def_path)
    if md5_of(before) != locked:
        return [Reason("own", "its code changed")]
    files = changed_files(before, code.text(of_code.def_path))
    more = [f"{len(files) - MAX_NAMED_CHANGES} more"] if len(files) > MAX_NAMED_CHANGES else []
    return [Reason("own", f"code changed: {', '.join([*files[:MAX_NAMED_CHANGES], *more])}")]


def is_params(dep: Any) -> bool:
    """Whether a dependency is a set of parameters, not a file."""
    return hasattr(dep, "params")


def _is_made_by(stages: list[Any], dep: Any) -> bool:
    path = Path(dep.fs_path)
    outs = [Path(out.fs_path) for stage in stages for out in stage.outs]
    return any(out.is_relative_to(path) or path.is_relative_to(out) for out in outs)


def _param_changes(dep: Any, status: dict[str, Any]) -> list[str]:
    """Name the changed leaves below the declared parameters: `params.yaml: teacher.images 1000 -> 500`."""
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
    """Say which outputs are not as DVC left them; those in its cache come back without work."""
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
