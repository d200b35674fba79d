"""Runs processes that cannot outlive the flow that started them.

Between the flow and each command runs a supervisor: this file, started as a script. The flow holds the write end of the
supervisor's standard input and never writes. However the flow ends (return, exception, SIGTERM, kill -9), the kernel
closes that pipe; the supervisor sees the end of file and kills everything below it. On Linux it also adopts orphans
(PR_SET_CHILD_SUBREAPER), so that grandchildren whose parent died first are found too. PR_SET_PDEATHSIG alone would not
be enough: it reaches only the direct child, and fires when the *thread* that forked ends. Prefect's and psutil's
functions to kill a tree of processes run in the process that may itself be killed.

The script imports nothing of this project: it starts in milliseconds and works from any folder.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

TERMINATE_GRACE_S = 2.0
"""Time between SIGTERM and SIGKILL."""
SUPERVISOR_GRACE_S = TERMINATE_GRACE_S + 5.0
TIMED_OUT = 124
"""Exit code of a command that exceeded its time limit, as coreutils' `timeout` returns it."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Command:
    """A command with everything that it runs with."""

    arguments: Sequence[str]
    """The program and its arguments."""
    cwd: Path
    """Working directory."""
    env: Mapping[str, str]
    """Complete environment."""
    on_line: Callable[[str], None]
    """Called with each line of the output."""
    timeout_s: float | None = None
    """Limit of the wall time; None sets none."""


class SupervisedProcess:
    """A command under its own supervisor; its output is passed on line by line, in another thread."""

    def __init__(self, command: Command, between: Sequence[str] = ()) -> None:
        """Start the command.

        Args:
            command: the command.
            between: a command that starts the supervisor and passes its standard input on.
        """
        self._process = subprocess.Popen(
            [*between, sys.executable, "-P", str(Path(__file__).resolve()), *command.arguments],
            cwd=command.cwd,
            env=dict(command.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._pump = threading.Thread(target=self._pump_lines, args=(command.on_line,), daemon=True)
        self._pump.start()

    def _pump_lines(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # stop() closed the pipe.
            for line in self._process.stdout:
                on_line(line.rstrip())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the command to end and return its exit code; `TIMED_OUT` if it had to be stopped."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.stop()
            return TIMED_OUT
        self._pump.join(SUPERVISOR_GRACE_S)
        return code

    def stop(self) -> None:
        """Stop the command and everything that it started; returns when all its processes have ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(SUPERVISOR_GRACE_S)
        except subprocess.TimeoutExpired:
            self._kill_hard()

    def _kill_hard(self) -> None:
        """Kill a supervisor that does not end, and its descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._process.pid).children(recursive=True):
                process.kill()
        self._process.kill()
        self._process.wait()


class Watchdog:
    """Runs commands for several threads and can stop all of them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[SupervisedProcess] = set()
        self._stopping = threading.Event()

    def check(self) -> None:
        """Raise if the run is being stopped.

        Raises:
            InterruptedError: if it is being stopped.
        """
        if self._stopping.is_set():
            raise InterruptedError("the run is being stopped")

    def sleep(self, seconds: float) -> None:
        """Wait, but stop waiting as soon as the run is being stopped.

        Raises:
            InterruptedError: if it is being stopped.
        """
        self._stopping.wait(seconds)
        self.check()

    def run(self, command: Command) -> int:
        """Run a command to its end and return its exit code; an exception in this thread stops the command first.

        Raises:
            InterruptedError: if the watchdog was stopped before the command could start.
        """
        with self._lock:
            self.check()
            process = SupervisedProcess(command)
            self._running.add(process)
        try:
            return process.wait(command.timeout_s)
        finally:
            if process.alive:
                process.stop()
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Stop all running commands and refuse new ones."""
        with self._lock:
            self._stopping.set()
            running = list(self._running)
        stoppers = [threading.Thread(target=process.stop) for process in running]
        for stopper in stoppers:
            stopper.start()
        for stopper in stoppers:
            stopper.join()


def supervise(command: Sequence[str]) -> int:
    """Run `command`, kill all descendants at the end of standard input, and return the command's exit code."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        # Only this direct child could survive a kill -9 of the supervisor itself, hence the death signal.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    killed = threading.Event()

    def kill_all(*_: object) -> None:
        killed.set()
        _kill_all_below()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, kill_all)
    threading.Thread(target=_call_at_end_of_input, args=(kill_all,), daemon=True).start()
    code = child.wait()
    _kill_all_below()
    if killed.is_set():  # psutil may have reaped the child first; subprocess then assumes that it returned 0.
        return 128 + signal.SIGTERM
    return code if code >= 0 else 128 - code


def _call_at_end_of_input(action: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    action()


def _kill_all_below() -> None:
    """Send SIGTERM to all descendants, then SIGKILL to those that remain, until none remains."""
    supervisor = psutil.Process()
    below = supervisor.children(recursive=True)
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(below, timeout=TERMINATE_GRACE_S)
    deadline = time.monotonic() + TERMINATE_GRACE_S
    while (below := supervisor.children(recursive=True)) and time.monotonic() < deadline:
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=0.2)


def _prctl(option: int, value: int) -> None:
    """Call prctl(2), which only Linux has; on other systems only the pipe is used."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    raise SystemExit(supervise(sys.argv[1:]))
