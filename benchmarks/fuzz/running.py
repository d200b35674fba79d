"""Runs one fuzz target with one input after another."""

import contextlib
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzz.targets import TARGETS_BY_NAME, Target
from ganpress.errors import GanpressError

LONGEST_SECONDS = 10
MOST_GROWTH_BYTES = 700 * 2**20
"""Of the process's peak memory by one input of some kilobytes."""
FORBIDDEN = ("weights_only=False", "allow_pickle=True", "safe_globals", "MAX_IMAGE_PIXELS", "MAX_TEXT", "Traceback")


@dataclass
class Counts:
    """What a run came to."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    findings: int = 0


class _TooLong(BaseException):
    pass


def run_target(name: str, seconds: float, seed: int, findings: Path, inputs: int | None = None) -> Counts:
    """Fuzz one target for some seconds of wall time, or for a number of inputs."""
    target, draw, counts = TARGETS_BY_NAME[name], random.Random(f"{name}-{seed}"), Counts()
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        seeds = target.seeds(Path(place))
    end = time.monotonic() + seconds
    while time.monotonic() < end and counts.inputs != inputs:
        content = seeds[0] if counts.inputs == 0 else target.mutate(draw.choice(seeds), draw)
        (findings / f"{name}.current").write_bytes(content)
        reason = _try(target, content, counts)
        if reason is not None:
            counts.findings += 1
            kept = findings / f"{name}-{seed}-{counts.inputs}"
            kept.write_bytes(content)
            print(f"{name}: {reason}: {kept}", flush=True)
    (findings / f"{name}.current").unlink(missing_ok=True)
    return counts


def _try(target: Target, content: bytes, counts: Counts) -> str | None:
    """Why an input is a finding; None where it is none."""
    counts.inputs += 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / target.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        before, began = _peak(), time.monotonic()
        try:
            with _limited():
                target.read(path)
            counts.accepted += 1
        except GanpressError as error:
            counts.refused += 1
            line = str(error)
            if not line.isprintable() or any(one in line for one in FORBIDDEN) or len(line) > 1_000:
                return f"message {line!r}"
        except _TooLong:
            return f"takes more than {LONGEST_SECONDS} s"
        except BaseException as error:  # whatever it is, a user would see a traceback
            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {str(error)[:150]!r} at {where.filename}:{where.lineno}"
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir()
    grown = _peak() - before
    if grown > MOST_GROWTH_BYTES:
        return f"takes {grown:,} bytes in {time.monotonic() - began:.1f} s"
    return None


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooLong

    former = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)  # of the processor: other load of the machine does not count
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
