"""When a flow ends in any way, all its processes end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.stage_process import TIMED_OUT, Command, Watchdog

MARK = "GANPRESS_TEST_MARK"

# Starts a grandchild in a session of its own, as a stubborn stage might; both ignore SIGTERM.
STUBBORN = """\
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:] == ["grandchild"]:
    time.sleep(600)
subprocess.Popen([sys.executable, __file__, "grandchild"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""

FLOW = """\
import os, sys
from pathlib import Path
from flows.stage_process import Command, Watchdog
Watchdog().run(Command([sys.executable, sys.argv[1]], Path.cwd(), os.environ, lambda line: print(line, flush=True)))
"""


def marked(mark: str) -> list[psutil.Process]:
    """Live processes that carry the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def stubborn(tmp_path: Path) -> Path:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    return script


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_end_of_the_flow_leaves_nothing_behind(stubborn, tmp_path, number):
    mark = f"{tmp_path}-{number}"
    env = {**os.environ, MARK: mark, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", FLOW, str(stubborn)]
    flow = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert flow.stdout is not None
    assert flow.stdout.readline() == "ready\n"
    assert wait_until(lambda: len(marked(mark)) == 4)  # flow, supervisor, command, its child
    flow.send_signal(number)
    flow.wait(30)
    assert wait_until(lambda: not marked(mark)), marked(mark)


def test_output_and_exit_code_come_through(tmp_path):
    lines: list[str] = []
    code = "import sys; print('out'); print('wörld', file=sys.stderr); sys.exit(7)"
    assert Watchdog().run(Command([sys.executable, "-uc", code], tmp_path, os.environ, lines.append)) == 7
    assert lines == ["out", "wörld"]


def test_signal_of_the_command_is_its_exit_code(tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert Watchdog().run(Command([sys.executable, "-c", code], tmp_path, os.environ, print)) == 128 + 9


def test_missing_command_is_127(tmp_path):
    lines: list[str] = []
    assert Watchdog().run(Command(["no-such-command"], tmp_path, os.environ, lines.append)) == 127
    assert lines == ["no-such-command: No such file or directory"]


def test_background_process_of_a_finished_command_ends_too(tmp_path):
    env = {**os.environ, MARK: str(tmp_path)}
    assert Watchdog().run(Command(["sh", "-c", "sleep 600 & exit 0"], tmp_path, env, print)) == 0
    assert wait_until(lambda: not marked(str(tmp_path)))


def test_time_limit_stops_the_whole_tree(stubborn, tmp_path):
    env = {**os.environ, MARK: str(tmp_path)}
    assert Watchdog().run(Command([sys.executable, str(stubborn)], tmp_path, env, print, timeout_s=1.0)) == TIMED_OUT
    assert not marked(str(tmp_path))


def test_stop_from_another_thread_and_no_start_after_it(tmp_path):
    watchdog, codes = Watchdog(), []
    env = {**os.environ, MARK: str(tmp_path)}
    runner = threading.Thread(
        target=lambda: codes.append(watchdog.run(Command(["sleep", "600"], tmp_path, env, print)))
    )
    runner.start()
    assert wait_until(lambda: len(marked(str(tmp_path))) == 2)
    watchdog.stop()
    runner.join(30)
    assert codes == [128 + signal.SIGTERM]
    assert not marked(str(tmp_path))
    with pytest.raises(InterruptedError, match="the run is being stopped"):
        watchdog.run(Command(["true"], tmp_path, os.environ, print))
    with pytest.raises(InterruptedError):
        watchdog.sleep(600)


def test_killed_supervisor_takes_its_command_with_it(tmp_path):
    watchdog, codes = Watchdog(), []
    env = {**os.environ, MARK: str(tmp_path)}
    runner = threading.Thread(
        target=lambda: codes.append(watchdog.run(Command(["sleep", "600"], tmp_path, env, print)))
    )
    runner.start()
    assert wait_until(lambda: len(marked(str(tmp_path))) == 2)
    supervisor = next(one for one in marked(str(tmp_path)) if one.name() != "sleep")
    supervisor.kill()
    runner.join(30)
    assert codes[0] != 0
    assert wait_until(lambda: not marked(str(tmp_path)))
