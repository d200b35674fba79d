"""Checks a whole run before its first stage: `run`, `run --dry-run`, `serve` and the flow refuse the same errors."""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.cluster_choice import settle_cluster
from flows.data_source import check_replacement
from flows.device_choice import settle_device, settle_ranks
from flows.dvc_graph import StageGraph, read_graph
from flows.run_request import RunRequest
from flows.worktree import Workspace, make_workspace
from ganpress.config.params import Params
from ganpress.config.search_section import EAGER
from ganpress.config.translation_section import Adversarial
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError
from ganpress.registries import TARGETS

MAX_THREADS = 4096


@dataclass(frozen=True)
class ReadyRun:
    """A run that passed all checks before its first stage."""

    workspace: Workspace
    graph: StageGraph
    chosen: tuple[str, ...]
    """Stages, in order."""


def prepare(root: Path, request: RunRequest) -> ReadyRun:
    """Check a run and create its workspace.

    Only what the chosen stages will really need is checked: a clean `export` needs no runtime.

    Raises:
        ConfigError: if a parameter, recipe, setting, option, variable or stage is wrong, or a file, a runtime or an
            imported generator that one of the stages needs is missing.
    """
    check_environment()
    workspace = make_workspace(root, request.recipe, request.settings or ())
    graph = read_graph(workspace.root, request.strict_versions)
    chosen = graph.select(request.stages or (), request.from_stage)
    to_run = {name for name in chosen if request.force or graph[name].need == "run"}
    check_needs(workspace, to_run, request.replace_data)
    return ReadyRun(workspace, graph, chosen)


_ahead: list[tuple[Path, RunRequest, ReadyRun]] = []


def prepare_ahead(root: Path, request: RunRequest) -> None:
    """Check a run that this process starts next, whose flow takes the result with `prepared`; errors as of `prepare`.

    Reading the whole graph is a fifth of the CPU time of a run that finds everything up to date.
    """
    _ahead[:] = [(root, request, prepare(root, request))]


def prepared(root: Path, request: RunRequest) -> ReadyRun:
    """Return what `prepare_ahead` found for this very run, once; else call `prepare`."""
    known = _ahead.pop() if _ahead else None
    return known[2] if known is not None and known[:2] == (root, request) else prepare(root, request)


def check_environment() -> None:
    """Check the variables that every stage reads.

    Raises:
        ConfigError: if one is wrong; the message names the first.
    """
    from ganpress.tracking.recorders import tracking_mode

    tracking_mode()
    threads = os.environ.get("GANPRESS_THREADS")
    if threads is not None and not (re.fullmatch("[1-9][0-9]{0,3}", threads) and int(threads) <= MAX_THREADS):
        raise ConfigError(
            f"GANPRESS_THREADS must be a whole number above 0, found {quoted(threads)} (at most {MAX_THREADS})"
        )
    if not settle_cluster():
        settle_device()
        settle_ranks()
    checkpoints = os.environ.get("GANPRESS_CHECKPOINTS")
    if checkpoints and Path(checkpoints).exists() and not Path(checkpoints).is_dir():
        raise ConfigError(
            f"GANPRESS_CHECKPOINTS is {quoted(checkpoints)}, which is not a folder; name one, or unset the variable"
        )


def check_needs(workspace: Workspace, to_run: Collection[str] | None = None, replace_data: bool = False) -> None:
    """Check that everything that stages need apart from each other's outputs exists.

    Args:
        workspace: workspace of the run, which need not exist yet.
        to_run: stages that would be executed, such as `export@teacher` or `judge`; None means all that the parameters
            name.
        replace_data: whether data of another source may be replaced.

    Raises:
        ConfigError: if a file of weights, a runtime, a data source or an imported generator is missing or unknown, or
            ranks cannot share a batch.
        DataError: if data that a user added would be replaced.
    """
    to_run = _every_stage(workspace.params) if to_run is None else to_run
    families = {name.partition("@")[0] for name in to_run}
    for stage, key, path in _weights(workspace.params):
        if stage in families and not (workspace.root / path).is_file():
            raise ConfigError(f"{key} is {quoted(path)}, and there is no such file; correct it, or put the file there")
    _check_batches(workspace.params, families)
    _check_distances(workspace.params, families)
    for key, target in _targets(workspace.params, to_run):
        _require_target(key, target)
    if "candidate" in families and workspace.imports:
        _require_imported(workspace, workspace.imports)
    if reads_data(workspace.root if workspace.root.is_dir() else workspace.main):
        _require_source(workspace)
        if not workspace.isolated and not replace_data:
            check_replacement(workspace.root, workspace.data.source)
        if to_run:
            _require_fit(workspace, families)


def _every_stage(params: Params) -> set[str]:
    """Return the names of all stages of the chain that need anything apart from each other's outputs."""
    return {*STAGES_WITH_NEEDS, *(f"export@{name}" for name in params.export.items)}


STAGES_WITH_NEEDS = (
    "judge", "candidate", "student", "control", "supernet", "search", "subnet", "evaluate"
)  # fmt: skip


def _weights(params: Params) -> Iterator[tuple[str, str, str]]:
    """Return stage, key and path of each file of weights that the parameters name."""
    trainings = {
        ("candidate", "candidate.training"): params.candidate.training,
        ("student", "student.training"): params.student.training,
        ("control", "control.training"): params.control.training,
        ("supernet", "supernet.training"): params.supernet.training,
        ("subnet", "subnet.fine_tuning"): params.subnet.fine_tuning,
    }
    found = [("judge", "judge.weights", params.judge.weights)]
    found.append(("evaluate", "evaluate.lpips_weights", params.evaluate.lpips_weights))
    for (stage, section), training in trainings.items():
        path = training.perceptual_weights if isinstance(training, Adversarial) and training.lambda_perceptual else None
        found.append((stage, f"{section}.perceptual_weights", path))
    yield from ((stage, key, path) for stage, key, path in found if path is not None)


def _check_batches(params: Params, families: set[str]) -> None:
    """Check that the ranks of each training can have equal shares of its batch."""
    if settle_cluster():  # `resources` says how many GPUs a stage gets there
        ranks = {str(stage): needs.gpus for stage, needs in params.resources.items() if needs.gpus > 1}
    else:
        everywhere = settle_ranks()
        ranks = dict.fromkeys(families, everywhere) if everywhere > 1 else {}
    if not ranks:
        return
    from tasks.shared.rank_processes import check_batch
    from tasks.shared.stage import BATCHES

    for stage in sorted(families & ranks.keys() & (BATCHES.keys() - {"judge"})):  # one process trains the judge
        if stage != "candidate" or not all(item.imported for item in params.candidate.items.values()):
            check_batch(params.model_dump(), BATCHES[stage], ranks[stage])


def _check_distances(params: Params, families: set[str]) -> None:
    """Refuse distances of features before an imported teacher is used, which has no trained discriminator."""
    if not families & {"candidate", "student"} or not any(one.imported for one in params.candidate.items.values()):
        return
    # This import loads torch, which the rest of this module does not need.
    from ganpress.training.distances.mixed_distance import features_needed

    for name, item in params.student.items.items():
        features_needed(item.distances or (), True, f"student.items.{name}.distances")


def _targets(params: Params, to_run: Collection[str]) -> Iterator[tuple[str, str]]:
    for name, item in params.export.items.items():
        if f"export@{name}" in to_run:
            yield f"export.items.{name}.target", item.target
    if "search" in to_run and params.search.measures_latency and params.search.latency_runtime != EAGER:
        yield "search.latency_runtime", params.search.latency_runtime


def _require_target(key: str, name: str) -> None:
    target = TARGETS[name]
    if target.missing() is not None:
        raise ConfigError(
            f"{key} is '{name}', which is not installed ({', '.join(target.absent())}); run "
            f"`{target.install}`, or choose another one of `ganpress targets`"
        )


def _require_imported(workspace: Workspace, folder: str) -> None:
    if not (workspace.main / f"{folder}.dvc").is_file() and not (workspace.root / folder).is_dir():
        raise ConfigError(
            f"candidate.imported is {folder}, and there is no imported generator; import it with `ganpress import`"
        )


def _require_source(workspace: Workspace) -> None:
    from ganpress.data.raw.dataset_card import display_name, read_card

    card, source = read_card(workspace.root / "data"), workspace.data.source
    if card is None or card.source != display_name(source):
        from ganpress.data.sources.acquisition import check_source

        check_source(source)


def _require_fit(workspace: Workspace, families: Collection[str]) -> None:
    """Check the parameters against data/ if it already holds the requested source; a flow checks again after the
    import.
    """
    from ganpress.data.raw.dataset_card import display_name, read_card

    card = read_card(workspace.root / "data")
    if card is not None and card.source == display_name(workspace.data.source):
        from flows.data_fit import check_fit

        check_fit(workspace.params, card, workspace.root, families)


def reads_data(root: Path) -> bool:
    """Return whether data/ is pinned or any stage of dvc.yaml reads it."""
    from ganpress.config.yaml_text import MAX_BYTES_OF_DVC, OF_DVC, parse_yaml, read_text

    if (root / "data.dvc").exists():
        return True
    path = root / "dvc.yaml"
    content = parse_yaml(read_text(path, MAX_BYTES_OF_DVC), str(path), OF_DVC)
    stages = content.get("stages") if isinstance(content, dict) else None
    stages = stages if isinstance(stages, dict) else {}
    bodies = [body.get("do", body) for body in stages.values() if isinstance(body, dict)]
    return any(Path(str(dep)).parts[:1] == ("data",) for body in bodies for dep in body.get("deps", ()))
