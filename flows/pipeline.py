"""The Prefect flow: one task run for each stage of dvc.yaml, in DVC's order, as parallel as the graph and the cores
allow.

DVC decides what is up to date; Prefect decides when and where it runs. A task calls `dvc repro` for its stage only.
Its cache key is None while DVC reports the stage as changed, else a digest of its entry in dvc.lock, which includes
the outputs. So a clean stage is natively `Cached`, and a cached result can never be stale.
"""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import deployment as current_deployment
from prefect.runtime import flow_run as current_flow_run
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.console import StageResult
from flows.data_fit import check_fit
from flows.dvc_graph import read_graph
from flows.environment import export_environment, find_root, main_root
from flows.hooks import Ending, tell_as_told_by_environment
from flows.left_running import cancel_where_a_signal_ended_it, noted, sweep
from flows.new_data import VARIABLE, fetch_new
from flows.options import MAX_JOBS
from flows.overlap import take_over
from flows.preflight import prepared, reads_data
from flows.run_request import check_recipe_inside, read_request
from flows.stage_scheduling import ScheduledRun
from flows.worktree import Workspace
from ganpress.data.raw.dataset_card import read_card
from ganpress.errors import GanpressError


class StageFailed(GanpressError):
    """A stage of the chain ended with an error."""

    def __init__(self, results: Sequence[StageResult]) -> None:
        failed = [result for result in results if result.outcome == "failed"]
        causes = "; ".join(f"stage {result.stage} failed: {result.cause}" for result in failed)
        super().__init__(f"{causes} (the outputs of the other stages are kept; fix this and run again)")
        self.results = tuple(results)


# Prefect's own check of parameters converts values ("3" is a number, 1 is true) and reports in many lines; ours does
# neither.
@flow(  # type: ignore[untyped-decorator]
    name="ganpress",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_JOBS),
    validate_parameters=False,
    on_crashed=[cancel_where_a_signal_ended_it],
)
def ganpress_pipeline(
    stages: list[str] | None = None,
    from_stage: str | None = None,
    force: bool = False,
    recipe: str | None = None,
    settings: list[str] | None = None,
    jobs: int | None = None,
    stage_timeout_s: float | None = None,
    replace_data: bool = False,
    strict_versions: bool = False,
    retries: int = 0,
    overlap: str = "queue",
) -> State[Any]:
    """Bring the chain up to date, and call the hooks that the environment names if a server or worker started the run.

    Args:
        stages: run only these, and nothing upstream; `student` means all its items, `student@d2-mse` one.
        from_stage: run this stage and all downstream of it; the outputs upstream are used as they are.
        force: run the chosen stages even if nothing changed.
        recipe: name or path of a recipe that overrides params.yaml, in its own workspace.
        settings: `section.key=value` overrides, applied after the recipe, also in their own workspace.
        jobs: number of stages that run in parallel; None takes one for each core.
        stage_timeout_s: limit of one stage's wall time.
        replace_data: let the source in params.yaml replace different data in data/.
        strict_versions: also run stages whose outputs were made with another version of torch or of a runtime.
        retries: how often a stage that was killed by a signal is restarted; one that failed by itself never is.
        overlap: `cancel` ends an older run of the same deployment that is at work; with `queue` this run has waited.

    Returns:
        A completed state that holds the `StageResult` of each stage, or a failed one that holds the error.
    """
    root = find_root()
    export_environment(root)
    main = main_root(root)
    flow_run_id = str(current_flow_run.id) if current_flow_run.id else None
    sweep(main)
    deployment_id = str(current_deployment.id) if current_deployment.id else None
    with noted(main, flow_run_id, deployment_id) if flow_run_id else nullcontext():
        if deployment_id and flow_run_id:
            take_over(main, deployment_id, flow_run_id, "cancel" if overlap == "cancel" else "queue")
        state = _bring_up_to_date(
            root,
            stages=stages,
            from_stage=from_stage,
            force=force,
            recipe=recipe,
            settings=settings,
            jobs=jobs,
            stage_timeout_s=stage_timeout_s,
            replace_data=replace_data,
            strict_versions=strict_versions,
            retries=retries,
            overlap=overlap,
        )
    if current_deployment.id is not None:
        message = state.message if state.is_failed() else None
        tell_as_told_by_environment(Ending(main, recipe, message, flow_run_id))
    return state


def _bring_up_to_date(root: Path, **given: Any) -> State[Any]:
    """Check the request, run it, and return the final state."""
    try:
        request = read_request(**given)
        if current_deployment.id is not None:  # A server started this run.
            check_recipe_inside(root, request.recipe)
            place = os.environ.get(VARIABLE)
            if place and not request.force and (nothing := fetch_new(main_root(root), place)) is not None:
                return Completed(message=nothing, data=[])
        ready = prepared(root, request)
        workspace = ready.workspace
        is_new = ensure_inputs(workspace, request.replace_data)
        if (card := read_card(workspace.root / "data")) is not None:
            # `prepare` has checked them against data that were there already.
            families = {name.partition("@")[0] for name in ready.chosen} if is_new else ()
            check_fit(workspace.params, card, workspace.root, families)
        graph = read_graph(workspace.root, request.strict_versions) if is_new else ready.graph
        results = ScheduledRun(workspace, graph, ready.chosen, request).to_the_end()
    except GanpressError as error:
        return Failed(message=str(error), data=error)
    return _final_state(results)


def ensure_inputs(workspace: Workspace, replace_data: bool = False) -> bool:
    """Import the source of the data section into data/ if any stage reads it; return whether anything may have changed.

    The workspace of a recipe holds no data of the user's; in the main one, data of another source is kept unless
    `replace_data` is set.
    """
    before = _inputs(workspace.root)
    if reads_data(workspace.root):
        from flows.data_source import ensure_data

        ensure_data(workspace.root, workspace.data, replace_data or workspace.isolated)
        if workspace.imports:
            from flows.imported_pin import ensure_imported

            ensure_imported(workspace.root, workspace.main, workspace.imports)
    return before != _inputs(workspace.root) or workspace.imports is not None


def _inputs(root: Path) -> list[bytes | None]:
    """Return the contents of the pin and the card of data/, which identify the data."""
    paths = (root / "data.dvc", root / "data" / "dataset.json")
    return [path.read_bytes() if path.is_file() else None for path in paths]


def _final_state(results: Sequence[StageResult]) -> State[Any]:
    if any(result.outcome == "failed" for result in results):
        error = StageFailed(results)
        return Failed(message=str(error), data=error)
    executed = sum(result.outcome == "ran" for result in results)
    message = f"{executed} of {len(results)} stages ran, the others were up to date"
    return Completed(message=message, data=list(results))
