"""Runs one stage by DVC in its own process."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import BaseFileLock, FileLock, Timeout

from flows.stage_process import TIMED_OUT, Command, Watchdog
from flows.state_files import heal_locks

Action = Literal["ran", "restored", "skipped"]

# DVC reports what it did only in its log (tests/flows/test_stage_run.py pins the texts).
_RUNNING = "Running stage '"
_RESTORING = "is cached - skipping run"
_CHATTER = (
    _RUNNING,
    "> ",
    "Stage '",
    "Updating lock file",
    "Generating lock file",
    "To track the changes with git",
    "\tgit add",
    "To enable auto staging",
    "\tdvc config",
    "Use `dvc push`",
    "Data and pipelines are up to date",
    "ERROR: failed to reproduce",
)
_BUSY = "is busy, it is being blocked by"
BUSY_RETRY_S = 2.0
_EXIT_CODE = re.compile(r"exited with (-?\d+)")
SHELL_SIGNAL = 128
"""A shell returns this plus the number of the signal that ended a command."""


@dataclass(frozen=True)
class StageEnd:
    """How DVC handled a stage."""

    action: Action
    error: str | None
    """Last line of the stage's output if it failed, else None."""
    killed: bool = False
    """Whether a signal ended its process, so that the cause is the machine and not the data or parameters."""


@dataclass
class _Transcript:
    """Separates the log of `dvc repro` into DVC's messages and the stage's output."""

    on_line: Callable[[str], None]
    action: Action = "skipped"
    last_line: str = ""
    """Last line of the stage's output that is not empty."""
    dvc_error: str = ""

    def add(self, line: str) -> None:
        if line.startswith(_RUNNING):
            self.action = "ran"
        elif _RESTORING in line and self.action == "skipped":
            self.action = "restored"
        elif line.startswith("ERROR: "):
            self.dvc_error = self.dvc_error or line.removeprefix("ERROR: ")
        if line.strip() and not line.startswith(_CHATTER) and not self.dvc_error:
            self.last_line = line.strip()
            self.on_line(line)


def run_stage(
    stage: str,
    root: Path,
    env: Mapping[str, str],
    watchdog: Watchdog,
    on_line: Callable[[str], None],
    is_clean: Callable[[], bool],
    write_code: Callable[[], bool],
    force: bool = False,
    timeout_s: float | None = None,
    run: Callable[[Command], int] | None = None,
) -> StageEnd:
    """Bring one stage up to date with DVC, and nothing upstream of it.

    We use our own lock because DVC's lock fails instead of waiting when two processes want the same stage.

    Args:
        stage: DVC's name of the stage.
        root: the folder of dvc.yaml.
        env: complete environment of its process.
        watchdog: ends the process if this flow ends first.
        on_line: called with each line that the stage writes.
        is_clean: returns whether DVC has nothing to do; called only if DVC cannot lock the outputs.
        write_code: writes the digest of its code; returns False while that is not possible.
        force: run the stage even if nothing changed.
        timeout_s: limit of the stage's wall time; None sets none.
        run: runs the process and returns its exit code; None runs it on this machine.
    """
    run = run or watchdog.run
    options = ["--force"] if force else []
    command = [sys.executable, "-P", "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *options, stage]
    locks = root / ".dvc" / "tmp"
    locks.mkdir(parents=True, exist_ok=True)
    with _held(FileLock(locks / f"ganpress-{stage.replace('/', '-')}.lock"), watchdog):
        while True:
            heal_locks(root)  # Another DVC process may have been killed while it wrote its table of locks.
            if write_code():
                transcript = _Transcript(on_line)
                code = run(Command(command, root, env, transcript.add, timeout_s))
                if code == 0:
                    return StageEnd(transcript.action, None)
                if heal_locks(root):
                    continue
                if _BUSY not in transcript.dvc_error:
                    killed = code != TIMED_OUT and _is_killed(transcript)
                    return StageEnd(transcript.action, _cause(transcript, code, timeout_s), killed)
            # Another flow runs a stage that reads this stage's outputs: they exist already, or the stage will end soon.
            if not force and is_clean():
                return StageEnd("skipped", None)
            watchdog.sleep(BUSY_RETRY_S)


@contextmanager
def _held(lock: BaseFileLock, watchdog: Watchdog) -> Iterator[None]:
    """Wait for the lock in steps, because another flow may hold it for hours while this one is being stopped."""
    while True:
        watchdog.check()
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            continue
        break
    try:
        yield
    finally:
        lock.release()


def _exit_code(transcript: _Transcript) -> int | None:
    """Return the exit code of the stage's process as DVC reports it; None if it reports none."""
    exited = _EXIT_CODE.search(transcript.dvc_error)
    return int(exited[1]) if exited else None


def _is_killed(transcript: _Transcript) -> bool:
    code = _exit_code(transcript)
    return code is not None and (code < 0 or code > SHELL_SIGNAL)


def _cause(transcript: _Transcript, code: int, timeout_s: float | None) -> str:
    if code == TIMED_OUT and timeout_s is not None:
        return f"it took longer than its limit of {timeout_s:g} s and was stopped"
    if _is_killed(transcript):
        return f"its process was killed (exit code {_exit_code(transcript)}); was there enough memory?"
    if transcript.action == "ran" and transcript.last_line:
        return transcript.last_line
    return transcript.dvc_error or transcript.last_line or f"dvc ended with exit code {code}"
