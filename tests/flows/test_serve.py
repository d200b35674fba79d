"""Schedules that really fire. These guard the pins of fastapi and sqlalchemy: newer ones break Prefect in silence."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
        assert wait_until(lambda: "5 stages: 5 ran" in output.read_text()), output.read_text()
        assert wait_until(lambda: "5 stages: 5 Cached" in output.read_text()), output.read_text()
        assert toy.executed() == ALL
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


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
