"""What DVC knows: the stages, their order, which of them would run, and why.

DVC's own objects never leave this file. Its repository is opened once for all stages, under one lock; opening it for
each would cost more than most stages' check.
"""

import graphlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ganpress.errors import ConfigError

Need = Literal["clean", "restore", "run"]
Kind = Literal["own", "input", "output", "upstream"]

MAX_NAMED_CHANGES = 3


@dataclass(frozen=True)
class Reason:
    """Why a stage is not clean."""

    kind: Kind
    """`own`: nothing upstream can cure it (command, parameter, source or data file); `input`: a file that an upstream
    stage makes; `output`: an output that is gone but in DVC's cache; `upstream`: an upstream stage would run."""
    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class StageState:
    """One stage as DVC sees it at one moment."""

    name: str
    """DVC's name: `teacher`, `candidate@d8`."""
    upstream: tuple[str, ...]
    """Stages whose outputs this one reads directly."""
    need: Need
    """`restore`: only outputs are missing and DVC's cache has them; no work is done."""
    reasons: tuple[Reason, ...]
    """Why it is not clean; empty when it is."""
    key: str | None
    """Digest of command, dependencies, parameters and outputs as locked; None unless DVC calls the stage unchanged."""
    reads: tuple[str, ...]
    """Paths of its file dependencies, relative to the root."""

    @property
    def why(self) -> str:
        """The reasons in one line; empty when it is clean."""
        return "; ".join(map(str, self.reasons))


@dataclass(frozen=True)
class StageGraph:
    """All stages, each after those it reads from."""

    stages: tuple[StageState, ...]

    def __getitem__(self, name: str) -> StageState:
        return next(stage for stage in self.stages if stage.name == name)

    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    def named(self, pattern: str) -> tuple[str, ...]:
        """Return the stages that `pattern` means: one stage, or all items of a foreach stage.

        Raises:
            ConfigError: if there is none.
        """
        found = tuple(name for name in self.names() if pattern in (name, name.partition("@")[0]))
        if not found:
            families = dict.fromkeys(name.partition("@")[0] for name in self.names())
            items = [name for name in self.names() if name.startswith(f"{pattern.partition('@')[0]}@")]
            raise ConfigError(f"no stage '{pattern}' in dvc.yaml; stages: {', '.join(items or families)}")
        return found

    def select(self, only: Sequence[str] = (), start: str | None = None) -> tuple[str, ...]:
        """Return, in order, the stages named in `only`, or `start` and all downstream of it, or all.

        Raises:
            ConfigError: if a name is unknown or both are given.
        """
        if only and start:
            raise ConfigError("--stage and --from exclude each other; give one of them")
        chosen = set(self.names())
        if only:
            chosen = {name for pattern in only for name in self.named(pattern)}
        elif start:
            chosen = self.downstream(self.named(start))
        return tuple(name for name in self.names() if name in chosen)

    def downstream(self, names: Iterable[str]) -> set[str]:
        """Return `names` and every stage that depends on one of them, directly or not."""
        reached = set(names)
        for stage in self.stages:  # in order, so one pass is enough
            if reached.intersection(stage.upstream):
                reached.add(stage.name)
        return reached

    def ancestors(self, name: str) -> set[str]:
        """Return every stage that `name` depends on, directly or not."""
        reached = {name}
        for stage in reversed(self.stages):
            if stage.name in reached:
                reached.update(stage.upstream)
        return reached - {name}


def read_graph(root: Path) -> StageGraph:
    """Read the graph of dvc.yaml below `root` and the state of every stage.

    Raises:
        ConfigError: if the folder is no DVC project or dvc.yaml is wrong.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
            return _mark_downstream([_stage_state(stage, upstream) for stage, upstream in _ordered(repo.index)])
    except NotDvcRepoError:
        raise ConfigError(f"{root} is no DVC project; run `dvc init` there, or change into the checkout") from None
    except DvcException as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise ConfigError(f"dvc.yaml cannot be used: {' '.join(f'{error}{cause}'.split())}") from None


def _ordered(index: Any) -> list[tuple[Any, list[Any]]]:
    """Return (stage, its direct upstream stages) in an order that respects the graph and else keeps dvc.yaml's."""
    graph = index.graph  # an edge points from a stage to the one it reads from
    position = {stage: number for number, stage in enumerate(index.stages)}
    sorter = graphlib.TopologicalSorter({stage: list(graph.successors(stage)) for stage in graph})
    sorter.prepare()
    ordered: list[Any] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        sorter.done(*ready)
        ordered += ready
    # data.dvc is a stage of the graph too, but it has no command and is nothing to run.
    return [(stage, [one for one in graph.successors(stage) if one.cmd]) for stage in ordered if stage.cmd]


def _stage_state(stage: Any, upstream: list[Any]) -> StageState:
    from dvc.lock import LockError

    names = tuple(sorted(one.name for one in upstream))
    reads = tuple(dep.def_path for dep in stage.deps if not _is_params(dep))
    state = StageState(stage.name, names, "clean", (), None, reads)
    try:
        if not stage.changed():
            return replace(state, key=_key(stage))
        reasons = (*_causes(stage, upstream), *_losses(stage)) or (Reason("own", "DVC calls it changed"),)
    except LockError:
        reasons = (Reason("own", "another process is running it"),)
    return replace(state, need=_need(reasons), reasons=reasons)


def _need(reasons: Sequence[Reason]) -> Need:
    if not reasons:
        return "clean"
    return "restore" if all(reason.kind == "output" for reason in reasons) else "run"


def _key(stage: Any) -> str:
    """Digest what dvc.lock records of a clean stage; the outputs' digests are part of it, so it is never stale."""
    import hashlib
    import json

    content = {
        "cmd": stage.cmd,
        "deps": {dep.def_path: dep.hash_info.value for dep in stage.deps},
        "outs": {out.def_path: out.hash_info.value for out in stage.outs},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _causes(stage: Any, upstream: list[Any]) -> list[Reason]:
    """Say which dependencies, parameters or command make the stage changed."""
    if not any(dep.hash_info for dep in stage.deps) and not any(out.hash_info for out in stage.outs):
        return [Reason("own", "never run")]
    causes = [Reason("own", "its command in dvc.yaml changed")] if stage.changed_stage() else []
    for dep in () if stage.frozen else stage.deps:
        status = dep.workspace_status()
        if not status:
            continue
        if _is_params(dep):
            causes += [Reason("own", words) for words in _param_changes(dep, status)]
        else:
            verb = {"deleted": "missing", "new": "new"}.get(status[str(dep)], "changed")
            causes.append(Reason("input" if _is_made_by(upstream, dep) else "own", f"{dep.def_path} {verb}"))
    return causes


def _is_params(dep: Any) -> bool:
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


def _losses(stage: Any) -> list[Reason]:
    """Say which outputs are not as DVC left them; those in its cache come back without work."""
    losses = []
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
            losses.append(Reason("output" if cached else "own", words))
        elif not cached:
            losses.append(Reason("own", f"output {out.def_path} is not in DVC's cache"))
    return losses


def _mark_downstream(stages: list[StageState]) -> StageGraph:
    """Let the need to run flow downstream; a stage that only misses what will be restored needs nothing itself.

    This explains and forecasts. Whether a stage really runs is DVC's decision, made when its turn comes.
    """
    known: dict[str, StageState] = {}
    for stage in stages:
        running = [name for name in stage.upstream if known[name].need == "run"]
        restored = any(known[name].need == "restore" for name in stage.upstream)
        never_run = any(reason.words == "never run" for reason in stage.reasons)
        reasons = stage.reasons
        if running or restored:
            reasons = tuple(reason for reason in reasons if reason.kind != "input")
        if not never_run:
            reasons += tuple(Reason("upstream", f"upstream {name} would run") for name in running)
        known[stage.name] = replace(stage, need=_need(reasons), reasons=reasons)
    return StageGraph(tuple(known.values()))


class CleanStages:
    """Answers, for a running flow, whether a stage is clean; reads DVC again only after something happened upstream."""

    def __init__(self, root: Path, graph: StageGraph) -> None:
        self._root, self._graph = root, graph
        self._touched: set[str] = set()
        self._keys: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def touch(self, name: str) -> None:
        """Note that DVC was called for `name`, so that what was read of stages downstream no longer counts."""
        with self._lock:
            self._touched.add(name)

    def key(self, name: str) -> str | None:
        """Return the stage's cache key, or None while DVC calls it changed."""
        with self._lock:
            key = self._keys[name] = self._current_key(name)
            return key

    def is_clean(self, name: str) -> bool:
        """Whether the last `key` of the stage said that DVC has nothing to do for it."""
        return self._keys.get(name) is not None

    def is_clean_now(self, name: str) -> bool:
        """Ask DVC itself whether the stage is clean, whatever was known before."""
        with self._lock:
            return _read_key(self._root, name) is not None

    def _current_key(self, name: str) -> str | None:
        stage = self._graph[name]
        if any(reason.kind == "own" for reason in stage.reasons):
            return None  # nothing that happened upstream can have cured it
        if self._touched.isdisjoint(self._graph.ancestors(name)):
            return stage.key
        return _read_key(self._root, name)


def _read_key(root: Path, name: str) -> str | None:
    """Ask DVC about one stage; None also when it cannot say, because a memo must never block a run."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
            stage = repo.stage.load_one(name=name)
            return None if stage.changed() else _key(stage)
    except (DvcException, LockError, OSError):
        return None
