"""The Prefect flow: one task run for each stage of dvc.yaml, in DVC's order, as parallel as the graph and the cores
allow.

DVC decides what is up to date; Prefect decides when and where it runs. A task calls `dvc repro` for its stage only.
Its cache key is None while DVC reports the stage as changed, else a digest of its entry in dvc.lock, which includes
the outputs. So a clean stage is natively `Cached`, and a cached result can never be stale.
"""

import queue
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import CachePolicy
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import deployment as current_deployment
from prefect.runtime import flow_run as current_flow_run
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.console import Outcome, RunConsole, StageResult
from flows.data_fit import check_fit
from flows.dvc_graph import CleanStages, StageGraph, read_graph
from flows.environment import cores, export_environment, find_root, main_root, stage_environment
from flows.hooks import Ending, tell_as_told_by_environment
from flows.left_running import cancel_where_a_signal_ended_it, noted, sweep
from flows.options import MAX_JOBS
from flows.placement import Placement, placed
from flows.preflight import prepare, reads_data
from flows.run_request import RunRequest, check_recipe_inside, read_request
from flows.stage_code import write_code
from flows.stage_process import Watchdog
from flows.stage_run import StageEnd, run_stage
from flows.worktree import Workspace
from ganpress.data.raw.dataset_card import read_card
from ganpress.errors import GanpressError, ServiceUnavailable

RETRY_WAIT_S = 5.0
"""Seconds to wait before a killed stage is restarted; the process that took the memory may have ended by then."""


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

    Returns:
        A completed state that holds the `StageResult` of each stage, or a failed one that holds the error.
    """
    root = find_root()
    export_environment(root)
    main = main_root(root)
    flow_run_id = str(current_flow_run.id) if current_flow_run.id else None
    sweep(main)
    with noted(main, flow_run_id) if flow_run_id else nullcontext():
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
        ready = prepare(root, request)
        workspace = ready.workspace
        is_new = ensure_inputs(workspace, request.replace_data)
        if (card := read_card(workspace.root / "data")) is not None:
            families = (
                {name.partition("@")[0] for name in ready.chosen} if is_new else ()
            )  # The stages were requested explicitly.
            check_fit(workspace.params, card, workspace.root, families)
        graph = read_graph(workspace.root, request.strict_versions) if is_new else ready.graph
        run = _Run(workspace, graph, ready.chosen, request)
        results = run.to_the_end()
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


class DvcClean(CachePolicy):  # type: ignore[misc]
    """Cache key of a stage: None while it would run, else the digest of what dvc.lock records of it."""

    def __init__(self, clean: CleanStages, forced: Collection[str]) -> None:
        super().__init__()
        self._clean, self._forced = clean, forced

    def compute_key(
        self,
        task_ctx: Any,  # noqa: ARG002 (Prefect's interface)
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002
        **_kwargs: Any,
    ) -> str | None:
        """Return the key of the stage of this task run."""
        return None if inputs["stage"] in self._forced else self._clean.key(inputs["stage"])


class _Run:
    """One run of the chosen stages: submits stages as they become ready, in DVC's order, until none is left."""

    def __init__(
        self,
        workspace: Workspace,
        graph: StageGraph,
        chosen: tuple[str, ...],
        request: RunRequest,
    ) -> None:
        self._root, self._asked_jobs = workspace.root, request.jobs
        self._timeout_s, self._retries = request.stage_timeout_s, request.retries
        outdated = graph.made_with_other_versions() if request.strict_versions else set()
        self._forced = set(chosen) if request.force else outdated
        self._workspace, self._chosen = workspace, chosen
        self._to_run = {name for name in chosen if name in self._forced or graph[name].need == "run"}
        self._before = {name: graph.ancestors(name) & set(chosen) for name in chosen}
        self._upstream = {name: _nearest(graph, name, set(chosen)) for name in chosen}
        self._heights: dict[str, int] = {}
        self._clean = CleanStages(workspace.root, graph)
        self._watchdog = Watchdog()
        self._placement: Placement | None = None
        self._futures: dict[str, PrefectFuture[Any]] = {}
        self._ended: dict[str, StageEnd] = {}
        self._results: dict[str, StageResult] = {}
        self._started: dict[str, float] = {}

    def to_the_end(self) -> list[StageResult]:
        """Run everything and return the results in the order of the graph."""
        from ganpress.tracking import recording

        started = time.monotonic()
        flow_run_id = str(current_flow_run.id) if current_flow_run.id else None
        try:
            recipe = self._workspace.recipe
            with (
                placed(self._workspace, self._watchdog, self._to_run) as self._placement,
                RunConsole(len(self._chosen)) as self._console,
                recording(self._root, flow_run_id, recipe),
            ):
                here = self._placement.jobs if self._placement else min(cores(), MAX_JOBS)
                self._jobs = self._asked_jobs or here
                self._env = stage_environment(self._workspace.main, self._jobs, flow_run_id, recipe)
                self._submit_all()
        finally:
            self._watchdog.stop()
        results = [self._results[name] for name in self._chosen]
        self._console.summary(results, time.monotonic() - started)
        self._say_where()
        return results

    def _submit_all(self) -> None:
        """Submit stages as their upstream stages end; at most `jobs` at a time, because a waiting task holds a thread.

        Among the ready stages, the ones with the longest path to the end of the chain go first.
        """
        stage_task = self._make_task()
        finished: queue.SimpleQueue[str] = queue.SimpleQueue()
        waiting = sorted(self._chosen, key=self._height, reverse=True)
        while len(self._results) < len(self._chosen):
            for name in [one for one in waiting if self._is_ready(one)]:
                if len(self._futures) - len(self._results) >= self._jobs:
                    break
                waiting.remove(name)
                self._started[name] = time.monotonic()
                future = stage_task.submit(name, wait_for=[self._futures[one] for one in self._upstream[name]])
                self._futures[name] = future
                future.add_done_callback(lambda _future, name=name: finished.put(name))
            if len(self._results) < len(self._chosen):
                self._note(finished.get())
                self._leave_out(waiting)

    def _leave_out(self, waiting: list[str]) -> None:
        """Start nothing more after a stage without variants has failed, because the chain cannot give a result without
        it.
        """
        failed = [name for name, one in self._results.items() if one.outcome == "failed" and "@" not in name]
        if failed:
            for name in waiting:
                self._results[name] = StageResult(name, "not run", 0.0, f"{', '.join(failed)} failed")
                self._console.finished(self._results[name])
            waiting.clear()

    def _height(self, name: str) -> int:
        """Return the number of stages on the longest path from `name` to the end of the chain."""
        if name not in self._heights:
            downstream = [one for one in self._chosen if name in self._upstream[one]]
            self._heights[name] = 1 + max(map(self._height, downstream), default=0)
        return self._heights[name]

    def _is_ready(self, name: str) -> bool:
        return self._before[name].issubset(self._results)

    def _note(self, name: str) -> None:
        """Convert the final state of a task run into the stage's result."""
        future, ended = self._futures[name], self._ended.get(name)
        future.wait()  # The task has ended, but only this call reads its final state.
        state = future.state
        outcome, cause = self._outcome(name, state, ended)
        result = StageResult(name, outcome, time.monotonic() - self._started[name], cause)
        self._results[name] = result
        self._console.finished(result)

    def _outcome(self, name: str, state: State[Any], ended: StageEnd | None) -> tuple[Outcome, str | None]:
        if state.is_completed():
            if ended is None or ended.action == "skipped":
                return "Cached", None
            return ("ran" if ended.action == "ran" else "restored"), None
        failed = [one for one in self._chosen if one in self._before[name] and one in self._results]
        failed = [one for one in failed if self._results[one].outcome == "failed"]
        if failed and ended is None:
            return "not run", f"{', '.join(failed)} failed"
        return "failed", ended.error if ended and ended.error else state.message or state.name or "no message"

    def _make_task(self) -> Any:
        """Return the task that brings one stage up to date; it belongs to this run because its cache policy reads this
        graph.
        """

        @task(  # type: ignore[untyped-decorator]
            name="stage",
            task_run_name="{stage}",
            cache_policy=DvcClean(self._clean, self._forced),
            persist_result=True,
            result_serializer="json",
        )
        def bring_up_to_date(stage: str) -> State[Any] | dict[str, str]:
            return self._bring_up_to_date(stage)

        return bring_up_to_date

    def _bring_up_to_date(self, stage: str) -> State[Any] | dict[str, str]:
        if stage not in self._forced and self._clean.is_clean(stage):
            # The stage is clean but has no cached result in Prefect, because it ran in an earlier flow or through `dvc
            # repro`. This result is cached.
            return Completed(
                name="Cached", message="DVC reports it as unchanged", data={"stage": stage, "action": "skipped"}
            )
        logger = get_run_logger()
        self._clean.touch(stage)
        self._console.started(stage)

        def on_line(line: str) -> None:
            logger.info(line)
            self._console.output(stage, line)

        def is_clean() -> bool:
            return self._clean.is_clean_now(stage)

        def write() -> bool:
            return write_code(self._root, stage, self._clean.code())

        force = stage in self._forced
        runner = self._placement.for_stage(stage) if self._placement else self._watchdog
        for left in range(self._retries, -1, -1):
            try:
                end = run_stage(stage, self._root, self._env, runner, on_line, is_clean, write, force, self._timeout_s)
            except ServiceUnavailable as error:  # the cluster
                end = StageEnd("skipped", str(error))
            if not end.killed or not left:
                break
            on_line(f"{end.error} The stage is restarted, at most {left - 1} more times.")
            self._watchdog.sleep(RETRY_WAIT_S)
        self._ended[stage] = end
        if end.error is not None:
            return Failed(message=end.error)
        record = {"stage": stage, "action": end.action}
        if end.action == "ran":
            return record
        return Completed(name="Cached", message=f"DVC {end.action} it", data=record)

    def _say_where(self) -> None:
        report = self._root / "artifacts" / "report" / "report.html"
        if report.is_file():
            self._console.say(f"report: {report}")
        if self._workspace.isolated:
            self._console.say(f"workspace of these parameters: {self._root}")
            self._console.say(f"make them the project's own: cp {self._root / 'params.yaml'} {self._workspace.main}")


def _nearest(graph: StageGraph, name: str, chosen: set[str]) -> tuple[str, ...]:
    """Return the nearest chosen stages upstream of `name`, skipping stages that were not chosen."""
    found: set[str] = set()
    for upstream in graph[name].upstream:
        found.update([upstream] if upstream in chosen else _nearest(graph, upstream, chosen))
    return tuple(sorted(found))
