"""One stage through DVC: its result, read from DVC's messages, and the cause of a failure."""

import os
import threading

import pytest

from flows.stage_process import Watchdog
from flows.stage_run import StageEnd, run_stage


def bring(toy, stage: str, **options: object) -> tuple[StageEnd, list[str]]:
    lines: list[str] = []
    end = run_stage(stage, toy.root, os.environ, Watchdog(), lines.append, lambda: False, lambda: True, **options)
    return end, lines


def test_dvc_words_for_ran_skipped_and_restored(done):
    """Pins the log lines of DVC that tell what it did; a change of DVC's words fails here."""
    assert bring(done, "aside") == (StageEnd("skipped", None), [])
    (done.root / "artifacts" / "aside" / "out.txt").unlink()
    assert bring(done, "aside") == (StageEnd("restored", None), [])
    assert bring(done, "aside", force=True) == (StageEnd("ran", None), ["working on aside"])
    assert done.executed() == ["aside"]


def test_cause_is_the_stages_own_last_line(done):
    (done.control / "fail-aside").touch()
    end, lines = bring(done, "aside", force=True)
    assert end == StageEnd("ran", "aside: the disk is made of cheese")
    assert lines == ["working on aside", "a line before", "aside: the disk is made of cheese"]


def test_killed_stage_is_not_blamed_on_its_last_words(done):
    done.edit("step.py", 'print("working on", name)', 'print("90 %", flush=True); os.kill(os.getpid(), 9)')
    end, _ = bring(done, "aside")
    assert end.error is not None
    assert end.error.startswith("its process was killed (exit code")


def test_stopped_run_does_not_wait_for_another_flows_lock(done):
    from filelock import FileLock

    (done.root / ".dvc" / "tmp").mkdir(exist_ok=True)
    watchdog = Watchdog()
    with FileLock(done.root / ".dvc" / "tmp" / "ganpress-aside.lock"):
        timer = threading.Timer(0.2, watchdog.stop)
        timer.start()
        with pytest.raises(InterruptedError, match="the run is being stopped"):
            run_stage("aside", done.root, os.environ, watchdog, print, lambda: False, lambda: True)
        timer.join()
