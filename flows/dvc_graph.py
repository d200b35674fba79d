"""Reads from DVC the stages, their order, which of them would run, and why.

DVC's own objects are used only in this file and in `flows.dvc_reasons`. The repository is opened once for all stages,
under one lock, because opening it for each stage would cost more than the check of most stages.
"""

import graphlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flows.dvc_reasons import NEVER_RUN, Reason, causes, code_changes, is_params, losses, take_code
from ganpress.errors import ConfigError
from ganpress.executed_code.digests import CurrentCode, StageCode
from ganpress.executed_code.stages import CODE_STAGE
from ganpress.executed_code.versions import path_of, version_changes

Need = Literal["clean", "restore", "run"]


@dataclass(frozen=True)
class StageState:
    """State of one stage according to DVC at one moment."""

    name: str
    """Name of the stage in DVC, such as `teacher` or `candidate@d8`."""
    upstream: tuple[str, ...]
    """Stages whose outputs this one reads directly."""
    need: Need
    """`restore` means that only outputs are missing and DVC's cache has them, so that no work is done."""
    reasons: tuple[Reason, ...]
    """Reasons why the stage is not clean; empty if it is."""
    key: str | None
    """Digest of the locked command, dependencies, parameters and outputs; None unless DVC reports the stage as
    unchanged."""
    reads: tuple[str, ...]
    """Paths of its file dependencies, relative to the root, without the digest of its code."""
    versions: tuple[str, ...] = ()
    """Packages that were installed in another version when its outputs were made."""

    @property
    def why(self) -> str:
        """The reasons in one line; for a clean stage, its version changes."""
        return "; ".join([*map(str, self.reasons), *(self.versions if not self.reasons else ())])


@dataclass(frozen=True)
class StageGraph:
    """All stages, each after the stages that it reads from."""

    stages: tuple[StageState, ...]

    def __getitem__(self, name: str) -> StageState:
        return next(stage for stage in self.stages if stage.name == name)

    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    def named(self, pattern: str) -> tuple[str, ...]:
        """Return the stages that match `pattern`: one stage, or all items of a foreach stage.

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
            raise ConfigError("--stage and --from cannot be used together; give one of them")
        chosen = set(self.names())
        if only:
            chosen = {name for pattern in only for name in self.named(pattern)}
        elif start:
            chosen = self.downstream(self.named(start))
        return tuple(name for name in self.names() if name in chosen)

    def downstream(self, names: Iterable[str]) -> set[str]:
        """Return `names` and every stage that depends on one of them, directly or not."""
        reached = set(names)
        for stage in self.stages:  # The stages are in topological order, so one pass is enough.
            if reached.intersection(stage.upstream):
                reached.add(stage.name)
        return reached

    def made_with_other_versions(self) -> set[str]:
        """Return the stages whose outputs were made with other versions than are installed."""
        return {stage.name for stage in self.stages if stage.versions}

    def ancestors(self, name: str) -> set[str]:
        """Return every stage that `name` depends on, directly or not."""
        reached = {name}
        for stage in reversed(self.stages):
            if stage.name in reached:
                reached.update(stage.upstream)
        return reached - {name}


def read_graph(root: Path, strict_versions: bool = False) -> StageGraph:
    """Read the graph of dvc.yaml below `root` and the state of every stage; nothing is written.

    The stage `code` is left out, because the digests that it would write are computed here.

    Args:
        root: the folder of dvc.yaml.
        strict_versions: whether another version of torch or of a runtime counts as a change.

    Raises:
        ConfigError: if the folder is no DVC project or dvc.yaml is wrong.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
            ordered = _ordered(repo.index)
            code = StageCode(root)
            states = [_stage_state(stage, upstream, root, code, strict_versions) for stage, upstream in ordered]
            code.save()
            return _mark_downstream(states)
    except NotDvcRepoError:
        raise ConfigError(f"{root} is not a DVC project; run `dvc init` there, or change to the checkout") from None
    except DvcException as error:
        from flows.state_files import explain

        if damaged := explain(root):
            raise damaged from None
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise ConfigError(f"dvc.yaml cannot be used: {' '.join(f'{error}{cause}'.split())}") from None


def _ordered(index: Any) -> list[tuple[Any, list[Any]]]:
    """Return (stage, its direct upstream stages) in topological order, and otherwise in the order of dvc.yaml."""
    graph = index.graph  # An edge points from a stage to the stage that it reads from.
    position = {stage: number for number, stage in enumerate(index.stages)}
    sorter = graphlib.TopologicalSorter({stage: list(graph.successors(stage)) for stage in graph})
    sorter.prepare()
    ordered: list[Any] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=position.__getitem__)
        sorter.done(*ready)
        ordered += ready
    # data.dvc is a stage of the graph too, but it has no command, so there is nothing to run.
    return [(stage, list(filter(_is_work, graph.successors(stage)))) for stage in ordered if _is_work(stage)]


def _is_work(stage: Any) -> bool:
    return bool(stage.cmd) and stage.name != CODE_STAGE


def _stage_state(stage: Any, upstream: list[Any], root: Path, code: StageCode, strict_versions: bool) -> StageState:
    from dvc.lock import LockError

    names = tuple(sorted(one.name for one in upstream))
    key, of_code = _key(stage), take_code(stage)
    reads = tuple(dep.def_path for dep in stage.deps if not is_params(dep))
    versions = tuple(version_changes(root / path_of(*_parts(stage.name))))
    state = StageState(stage.name, names, "clean", (), None, reads, versions)
    try:
        found = [*code_changes(of_code, root, code), *(Reason("own", words) for words in versions if strict_versions)]
        if stage.changed():
            found += [*causes(stage, upstream), *losses(stage)] or [Reason("own", "DVC reports it as changed")]
        if not found:
            return replace(state, key=key)
        # A stage that never ran has no code that changed.
        reasons = tuple(reason for reason in found if reason.words == NEVER_RUN) or tuple(found)
    except LockError:
        reasons = (Reason("own", "another process is running it"),)
    return replace(state, need=_need(reasons), reasons=reasons)


def _need(reasons: Sequence[Reason]) -> Need:
    if not reasons:
        return "clean"
    return "restore" if all(reason.kind == "output" for reason in reasons) else "run"


def _parts(name: str) -> tuple[str, str | None]:
    """Split a name into stage and item."""
    stage, _, item = name.partition("@")
    return stage, item or None


def _key(stage: Any) -> str:
    """Return a digest of the entry of a clean stage in dvc.lock. It includes the outputs' digests, so it is never
    stale.
    """
    import hashlib
    import json

    content = {
        "cmd": stage.cmd,
        "deps": {dep.def_path: dep.hash_info.value for dep in stage.deps},
        "outs": {out.def_path: out.hash_info.value for out in stage.outs},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _mark_downstream(stages: list[StageState]) -> StageGraph:
    """Mark the stages downstream of one that would run. A stage whose missing inputs will be restored does not run.

    This explains and forecasts. Whether a stage really runs is DVC's decision, made when its turn comes.
    """
    known: dict[str, StageState] = {}
    for stage in stages:
        running = [name for name in stage.upstream if known[name].need == "run"]
        restored = any(known[name].need == "restore" for name in stage.upstream)
        never_run = any(reason.words == NEVER_RUN for reason in stage.reasons)
        reasons = stage.reasons
        if running or restored:
            reasons = tuple(reason for reason in reasons if reason.kind != "input")
        if not never_run:
            reasons += tuple(Reason("upstream", f"upstream {name} would run") for name in running)
        known[stage.name] = replace(stage, need=_need(reasons), reasons=reasons)
    return StageGraph(tuple(known.values()))


class CleanStages:
    """Tells a running flow whether a stage is clean; reads DVC again only after something changed upstream."""

    def __init__(self, root: Path, graph: StageGraph) -> None:
        self._root, self._graph = root, graph
        self.code = CurrentCode(root)
        self._touched: set[str] = set()
        self._keys: dict[str, str | None] = {}
        self._lock = threading.Lock()

    def touch(self, name: str) -> None:
        """Record that DVC ran `name`, so that the cached state of the stages downstream is discarded."""
        with self._lock:
            self._touched.add(name)

    def key(self, name: str) -> str | None:
        """Return the stage's cache key, or None while DVC reports it as changed."""
        with self._lock:
            key = self._keys[name] = self._current_key(name)
            return key

    def is_clean(self, name: str) -> bool:
        """Return whether the last call of `key` found that DVC has nothing to do for the stage."""
        return self._keys.get(name) is not None

    def is_clean_now(self, name: str) -> bool:
        """Ask DVC whether the stage is clean, ignoring the cached answer."""
        with self._lock:
            return self._read_key(name) is not None

    def _current_key(self, name: str) -> str | None:
        stage = self._graph[name]
        if any(reason.kind == "own" for reason in stage.reasons):
            return None  # No change upstream can have made it clean.
        if self._touched.isdisjoint(self._graph.ancestors(name)):
            return stage.key
        return self._read_key(name)

    def _read_key(self, name: str) -> str | None:
        """Return the present state of one stage; None also if its code cannot be read, which its run will report."""
        try:
            return _read_key(self._root, name, self.code())
        except ConfigError:
            return None


def _read_key(root: Path, name: str, code: StageCode) -> str | None:
    """Return DVC's state of one stage; None also if DVC fails, because caching must never block a run."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
            stage = repo.stage.load_one(name=name)
            key, of_code = _key(stage), take_code(stage)
            return None if code_changes(of_code, root, code) or stage.changed() else key
    except (DvcException, LockError, OSError):
        return None
