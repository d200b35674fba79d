"""Flow runs whose process is gone are ended as cancelled; active and ended ones are not changed."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from flows.left_running import FOLDER, noted, sweep


@pytest.fixture
def client(prefect_api):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


KILLED_ONCE = f"""\
if name == "aside" and not (control / "killed").exists():
    (control / "killed").touch()
    os.kill(os.getpid(), {signal.SIGKILL})
"""


def start(client, state):
    """A flow run in a state, as one that another process is at."""
    from prefect import flow

    @flow(name="toy")
    def toy():
        pass

    return client.create_flow_run(toy, state=state)


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    known = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
    process.wait()
    return known


def note(root, run, process):
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    (root / FOLDER / f"{run}.json").write_text(json.dumps(process))


def test_runs_of_dead_processes_are_cancelled_and_no_others(client, tmp_path):
    from prefect.states import Completed, Running

    dead, alive, ended = start(client, Running()), start(client, Running()), start(client, Completed())
    own = psutil.Process()
    note(tmp_path, dead.id, dead_process())
    note(tmp_path, alive.id, {"pid": own.pid, "started": own.create_time()})
    note(tmp_path, ended.id, dead_process())
    note(tmp_path, "0" * 8 + "-0000-4000-8000-" + "0" * 12, dead_process())  # of another server
    (tmp_path / FOLDER / "noise.json").write_text("{")
    assert sweep(tmp_path) == [dead.name]
    states = [client.read_flow_run(one.id).state for one in (dead, alive, ended)]
    assert [state.type.value for state in states] == ["CANCELLED", "RUNNING", "COMPLETED"]
    assert "its process ended without reporting a result" in states[0].message
    assert [path.stem for path in (tmp_path / FOLDER).iterdir()] == [str(alive.id)]
    assert sweep(tmp_path) == []


def test_a_pid_that_is_used_again_is_another_process(client, tmp_path):
    from prefect.states import Running

    run = start(client, Running())
    note(tmp_path, run.id, {"pid": os.getpid(), "started": psutil.Process().create_time() - 1000})
    assert sweep(tmp_path) == [run.name]


def test_a_note_lasts_as_long_as_its_run(tmp_path):
    with noted(tmp_path, "run"):
        assert (tmp_path / FOLDER / "run.json").is_file()
        assert sweep(tmp_path) == []
    assert list((tmp_path / FOLDER).iterdir()) == []


@pytest.mark.usefixtures("prefect_api")
def test_a_stage_that_the_machine_killed_is_started_again_and_one_that_failed_is_not(toy, monkeypatch):
    monkeypatch.setattr("flows.stage_scheduling.RETRY_WAIT_S", 0.1)
    toy.edit("step.py", "while (control", f"{KILLED_ONCE}while (control")
    assert toy.run(retries=1)["aside"] == "ran"
    assert toy.executed().count("aside") == 2
    (toy.control / "fail-last").touch()
    toy.edit("params.yaml", 'title: "ganpress: digits"', "title: other")
    from flows.pipeline import StageFailed

    with pytest.raises(StageFailed, match="made of cheese"):
        toy.run(retries=3)
    assert toy.executed() == ["last"]
