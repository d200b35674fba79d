"""Schedules that fire. They guard the pins of fastapi and sqlalchemy: newer ones break Prefect without an error."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ALL = ["aside", "first", "last", "many/a", "many/b"]


def wait_until(condition: Callable[[], bool], seconds: float = 240.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


@pytest.mark.slow
def test_served_schedule_fires_runs_the_chain_and_is_cached_the_second_time(toy, tmp_path):
    output, told = tmp_path / "output.txt", tmp_path / "told.json"
    with output.open("w") as stream:
        process = subprocess.Popen(
            toy.command("serve", "--interval", "15", "--port", str(free_port()), "--on-success", f"cat > {told}"),
            cwd=toy.root,
            env=toy.environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        assert wait_until(lambda: "5 stages: 5 ran" in output.read_text()), output.read_text()
        assert wait_until(lambda: "5 stages: 5 Cached" in output.read_text()), output.read_text()
        assert toy.executed() == ALL
        assert wait_until(told.is_file)
        assert json.loads(told.read_text())["flow_run_id"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize(("overlap", "waiting"), [("skip", "CANCELLED"), ("queue", "SCHEDULED")])
def test_a_run_whose_time_comes_during_another_one_waits_or_is_cancelled(toy, tmp_path, overlap, waiting):
    (toy.control / "hold").touch()
    output = tmp_path / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            toy.command("serve", "--interval", "10", "--port", str(free_port()), "--overlap", overlap),
            cwd=toy.root,
            env=toy.environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )

    def states() -> list[str]:
        with sqlite3.connect(toy.root / ".prefect" / "prefect.db") as database:
            late = "SELECT state_type FROM flow_run WHERE expected_start_time < datetime('now', '-15 seconds')"
            return [state for (state,) in database.execute(late)]

    try:
        assert wait_until((toy.control / "log.txt").exists), output.read_text()
        assert wait_until(lambda: waiting in states()), (states(), output.read_text())
        assert states().count("RUNNING") == 1
        (toy.control / "hold").unlink()
        assert wait_until(lambda: "COMPLETED" in states()), (states(), output.read_text())
    finally:
        (toy.control / "hold").unlink(missing_ok=True)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert toy.executed() == ALL


@pytest.mark.slow
@pytest.mark.parametrize("overlap", ["queue", "cancel"])
def test_of_runs_that_waited_one_runs_and_a_new_one_may_end_the_old(toy, tmp_path, overlap):
    def states() -> list[str]:
        late = "SELECT state_type FROM flow_run WHERE expected_start_time < datetime('now', '-2 seconds')"
        try:
            with sqlite3.connect(toy.root / ".prefect" / "prefect.db") as database:
                return [state for (state,) in database.execute(late)]
        except sqlite3.OperationalError:  # The server has not made it yet.
            return []

    (toy.control / "hold").touch()
    output = tmp_path / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            toy.command("serve", "--interval", "12", "--port", str(free_port()), "--overlap", overlap),
            cwd=toy.root,
            env=toy.environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        if overlap == "queue":
            assert wait_until(lambda: len(states()) >= 5), (states(), output.read_text())
            assert states().count("RUNNING") == 1
            (toy.control / "hold").unlink()
            assert wait_until(lambda: states().count("COMPLETED") == 2), (states(), output.read_text())
            assert states().count("CANCELLED") >= 2
        else:
            assert wait_until(lambda: "CANCELLED" in states()), (states(), output.read_text())
            (toy.control / "hold").unlink()
            assert wait_until(lambda: "COMPLETED" in states()), (states(), output.read_text())
    finally:
        (toy.control / "hold").unlink(missing_ok=True)
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.mark.slow
def test_terminated_during_a_run_it_leaves_no_run_at_work(toy, tmp_path):
    """Prefect's own answer to SIGTERM is a traceback, and a run that is Running for ever (PrefectHQ/prefect#16746)."""
    (toy.control / "hold").touch()
    output = tmp_path / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            toy.command("serve", "--interval", "15", "--port", str(free_port())),
            cwd=toy.root,
            env=toy.environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        assert wait_until((toy.control / "log.txt").exists), output.read_text()
        process.terminate()
        process.wait(60)
    finally:
        process.kill()
    assert "Traceback" not in output.read_text(), output.read_text()
    (toy.control / "hold").unlink()
    assert toy.call("run", "--stage", "first").returncode == 0
    with sqlite3.connect(toy.root / ".prefect" / "prefect.db") as database:
        states = [
            state for (state,) in database.execute("SELECT state_type FROM flow_run WHERE state_type != 'SCHEDULED'")
        ]
    assert sorted(states) == ["CANCELLED", "COMPLETED"]


@pytest.mark.slow
def test_deployment_of_prefect_yaml_runs_in_a_process_worker(toy, prefect_variable, tmp_path):
    """`prefect deploy` with the project's own prefect.yaml, then a worker, then a run."""
    text = (CHECKOUT / "prefect.yaml").read_text()
    # The toy has no flows/ of its own.
    (toy.root / "prefect.yaml").write_text(text.replace("flows/pipeline.py", f"{CHECKOUT}/flows/pipeline.py"))
    env = {**toy.environment(), "PWD": str(toy.root)}

    def prefect(*arguments: str) -> str:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        ended = subprocess.run(command, cwd=toy.root, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    prefect("work-pool", "create", "local", "--type", "process")
    prefect("deploy", "--all")
    assert "ganpress/nightly" in prefect("deployment", "ls")
    output = tmp_path / "output.txt"
    with output.open("w") as stream:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local"]
        # Elsewhere than in the project, as a service manager would start it.
        worker = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=stream, stderr=subprocess.STDOUT)
    try:
        prefect("deployment", "run", "ganpress/nightly")
        assert wait_until(lambda: "5 stages: 5 ran" in output.read_text()), output.read_text()
        assert toy.executed() == ALL
    finally:
        worker.send_signal(signal.SIGINT)
        worker.wait(60)


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.slow
def test_a_schedule_runs_only_for_new_data(toy, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.txt").write_text("one")
    command = [sys.executable, "-m", "dvc", "import-url", str(pictures), "data"]
    subprocess.run(command, cwd=toy.root, env=toy.environment(), check=True, capture_output=True)

    def messages() -> list[str]:
        try:
            with sqlite3.connect(toy.root / ".prefect" / "prefect.db") as database:
                return [str(one) for (one,) in database.execute("SELECT message FROM flow_run_state")]
        except sqlite3.OperationalError:
            return []

    output = tmp_path / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            toy.command("serve", "--interval", "12", "--port", str(free_port()), "--on-new-data", "import"),
            cwd=toy.root,
            env=toy.environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        refused = "data was not written by ganpress"
        assert wait_until(lambda: any(refused in one for one in messages())), output.read_text()
        assert wait_until(lambda: "no new version of the data" in messages()), output.read_text()
        assert sum(refused in one for one in messages()) == 1  # refused data is not tried again until it changes
        (pictures / "a.txt").write_text("two")
        assert wait_until(lambda: sum(refused in one for one in messages()) == 2), (
            output.read_text()
        )  # until it changes
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_documented_automation_tells_of_a_run_that_failed(toy, tmp_path):
    """The script of docs/deploy against a real server: a failed run of a schedule is posted by Prefect itself."""
    (toy.control / "fail-first").touch()
    told: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    port, output = free_port(), tmp_path / "output.txt"
    with output.open("w") as stream:
        process = subprocess.Popen(
            toy.command("serve", "--interval", "20", "--port", str(port)),
            cwd=toy.root,
            env=toy.environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        assert wait_until(lambda: "Ctrl-C" in output.read_text()), output.read_text()
        secret = (toy.root / ".prefect" / "api-auth-string").read_text().strip()
        variables = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_API_AUTH_STRING": secret}
        for _ in range(2):  # a second call replaces the first one's
            subprocess.run(
                [sys.executable, CHECKOUT / "docs/deploy/automation.py", f"http://127.0.0.1:{hook.server_port}/x"],
                env={**toy.environment(), **variables},
                check=True,
            )
        # Prefect needed up to five minutes for the first message of a server with a schedule.
        assert wait_until(lambda: bool(told), 480), output.read_text()
        assert told[0]["state"] == "Failed"
        assert "stage first failed" in told[0]["message"]
        assert len({one["run"] for one in told}) == len(told)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        hook.shutdown()
