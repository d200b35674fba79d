"""A flow killed in the middle of a stage leaves no process behind, its own Prefect server included."""

import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from flows.left_running import FOLDER

MARK = "GANPRESS_TEST_MARK"


def marked(mark: str) -> dict[int, str]:
    """Command lines of the live processes that carry the mark in their environment."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGKILL, id="kill -9"), pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow)],
)
def test_killed_flow_with_a_server_of_its_own_leaves_nothing_and_resumes(done, number):
    """Nothing is configured here: the flow starts its own server, as on a fresh clone."""
    (done.control / "hold").touch()
    done.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    env = {**done.environment(), MARK: str(done.root)}
    flow = subprocess.Popen(done.command("run"), cwd=done.root, env=env, stdout=subprocess.DEVNULL)
    assert wait_until(lambda: (done.control / "log.txt").exists())
    running = " ".join(marked(str(done.root)).values())
    assert "uvicorn" in running
    assert "step.py many/" in running
    flow.send_signal(number)
    assert flow.wait(60) == -number
    assert wait_until(lambda: not marked(str(done.root)), 30), marked(str(done.root))
    assert (done.root / "artifacts" / "first" / "out.txt").exists()
    (done.control / "hold").unlink()
    done.executed()
    done.dvc("repro")
    assert done.executed() == ["last", "many/a", "many/b"]


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "ganpress: interrupted; finished work is kept, run again to continue"),
        (signal.SIGTERM, -signal.SIGTERM, ""),
    ],
    ids=["SIGINT", "SIGTERM"],
)
@pytest.mark.usefixtures("prefect_variable")
def test_interrupted_flow_says_so_in_one_line_and_ends_as_cancelled(done, number, code, words):
    (done.control / "hold").touch()
    done.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    env = {**done.environment(), MARK: str(done.root)}
    flow = subprocess.Popen(
        done.command("run"), cwd=done.root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert wait_until(lambda: (done.control / "log.txt").exists())
    flow.send_signal(number)
    assert flow.wait(60) == code
    assert flow.stderr is not None
    assert flow.stderr.read().strip() == words
    assert wait_until(lambda: not marked(str(done.root)), 30)
    assert last_run().state.type.value == "CANCELLED"
    assert not list((done.root / FOLDER).iterdir())


def last_run():
    """The flow run that the session's server was told of last."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)
    return run
