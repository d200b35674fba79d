"""Cleans up flow runs whose process died: Prefect would show them as Running for ever, so the next run cancels them."""

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ganpress.basics.whole_files import write_whole

FOLDER = Path(".ganpress/flow-runs")
"""Folder below the main checkout with a note of each flow run in progress and its process."""
CLOCK_S = 1.0


@contextmanager
def noted(root: Path, flow_run_id: str, deployment_id: str | None = None) -> Iterator[None]:
    """Keep a note of this process's flow run while the block runs; a killed process leaves the note behind."""
    process = psutil.Process()
    note = root / FOLDER / f"{flow_run_id}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    content = {"pid": process.pid, "started": process.create_time(), "deployment": deployment_id}
    write_whole(note, json.dumps(content))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def sweep(root: Path) -> list[str]:
    """Set the flow runs of dead processes of this checkout to Cancelled, and return their names."""
    ended = []
    for note in sorted((root / FOLDER).glob("*.json")):
        if not _is_alive(note):
            name = _cancel(note.stem)
            note.unlink(missing_ok=True)
            ended += [name] if name else []
    return ended


def live_processes(root: Path, deployment_id: str, but: str) -> list[psutil.Process]:
    """Return the processes of the runs of a deployment that are at work in this checkout, `but` the run of that id."""
    found = []
    for note in sorted((root / FOLDER).glob("*.json")):
        process, deployment = _read(note)
        if process is not None and deployment == deployment_id and note.stem != but:
            found.append(process)
    return found


def _is_alive(note: Path) -> bool:
    return _read(note)[0] is not None


def _read(note: Path) -> tuple[psutil.Process | None, str | None]:
    """Return the live process of a note, and its deployment."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        process = psutil.Process(int(content["pid"]))
        same = abs(process.create_time() - float(content["started"])) < CLOCK_S
        return (process if same else None), content.get("deployment")
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None, None


def _cancel(flow_run_id: str) -> str | None:
    """Set a run that has not ended to Cancelled; return None if it has ended or the server does not know it."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Cancelled

    with contextlib.suppress(ObjectNotFound, ValueError), get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id)
        if run.state is not None and not run.state.is_final():
            state = Cancelled(message="its process ended without reporting a result, which the next run detected")
            client.set_flow_run_state(run.id, state, force=True)
            return str(run.name)
    return None


def cancel_where_a_signal_ended_it(_flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect's hook for crashed runs: a run that was stopped by a signal counts as cancelled."""
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    if (state.message or "").endswith(("interrupt signal.", "termination signal.")):
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelled(message=state.message), force=True)
