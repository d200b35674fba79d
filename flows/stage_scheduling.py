"""One run of chosen stages as Prefect tasks: each is submitted when its upstream stages have ended, in DVC's order."""

import queue
import time
from collections.abc import Collection
from typing import Any

from prefect import task
from prefect.cache_policies import CachePolicy
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run as current_flow_run
from prefect.states import Completed, Failed, State

from flows.console import Outcome, RunConsole, StageResult
from flows.dvc_graph import CleanStages, StageGraph
from flows.environment import cores, stage_environment
from flows.options import MAX_JOBS
from flows.placement import Placement, placed
from flows.run_request import RunRequest
from flows.stage_code import write_code
from flows.stage_process import Watchdog
from flows.stage_run import StageEnd, run_stage
from flows.worktree import Workspace
from ganpress.errors import ServiceUnavailable

RETRY_WAIT_S = 5.0
"""Seconds to wait before a killed stage is restarted; the process that took the memory may have ended by then."""


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


class ScheduledRun:
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

        on_cluster = self._placement.for_stage(stage).run if self._placement else None
        for left in range(self._retries, -1, -1):
            try:
                end = run_stage(
                    stage,
                    self._root,
                    self._env,
                    self._watchdog,
                    on_line,
                    is_clean,
                    write,
                    force=stage in self._forced,
                    timeout_s=self._timeout_s,
                    run=on_cluster,
                )
            except ServiceUnavailable as error:  # of the cluster
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
