"""Runs of one deployment that overlap: those that became due meanwhile are one run, and a new run may end an older one.

Prefect's own limits only let runs wait or cancel the new one (`skip`); all that waited would run one after the other
(PrefectHQ/prefect#15886).
"""

import os
import signal
from pathlib import Path
from typing import Literal

import psutil

from flows.left_running import live_processes

Overlap = Literal["queue", "cancel"]
GRACE_S = 60.0
"""Seconds that an older run has to end; then its processes are killed."""


def take_over(root: Path, deployment_id: str, flow_run_id: str, overlap: Overlap) -> None:
    """Make this run the only one of its deployment in this checkout.

    Runs that the schedule wanted before now are set to Cancelled, because this run does what they would do. With
    `cancel`, an older run that is at work gets SIGTERM, and ends as Cancelled.
    """
    if overlap == "cancel":
        _end(live_processes(root, deployment_id, flow_run_id))
    _drop_waiting(deployment_id, flow_run_id)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        process.kill()


def _drop_waiting(deployment_id: str, flow_run_id: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.states import Cancelled, StateType
    from prefect.types._datetime import now

    due = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now("UTC")),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])),
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=due):
            # A run that somebody asked for by hand may have other parameters.
            if run.auto_scheduled and str(run.id) != flow_run_id:
                state = Cancelled(message="a run that started later does its work")
                client.set_flow_run_state(run.id, state, force=True)
