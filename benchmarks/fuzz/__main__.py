"""Fuzzing of every reader of files: `python -m benchmarks.fuzz --minutes 60`, on one core.

Each reader gets real files with random changes. It must accept them or end with one of this project's errors, in one
line without control characters, in bounded time and memory. Other cases are written to `.ganpress/fuzz/` and printed.
"""

import argparse
import itertools
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.fuzz.running import run_target

ROUND_SECONDS = 20
"""Of one target before the next one has its turn."""
FINDINGS = Path(".ganpress") / "fuzz"
SUPERVISED_SECONDS = 90


def _supervise(target: str, seconds: float, seed: int, findings: Path) -> int:
    """Fuzz one target in a process of its own, so that a crash of a library is a finding, too."""
    findings.mkdir(parents=True, exist_ok=True)
    current = findings / f"{target}.current"
    arguments = ["--child", target, "--minutes", str(seconds / 60), "--seed", str(seed), "--findings", str(findings)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fuzz", *arguments], check=False, timeout=seconds + SUPERVISED_SECONDS
        )
        code = done.returncode
    except subprocess.TimeoutExpired:
        code = -1
    if code not in (0, 1) and current.exists():
        kept = findings / f"{target}-crash-{seed}"
        current.replace(kept)
        print(f"{target}: ended by {code}: {kept}", flush=True)
        return 1
    return int(code == 1)


def main() -> int:
    """Take the command line; the exit code says whether there were findings."""
    from benchmarks.fuzz.targets import TARGETS_BY_NAME

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS_BY_NAME), choices=list(TARGETS_BY_NAME))
    parser.add_argument("--findings", type=Path, default=FINDINGS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        counts = run_target(given.child, 60 * given.minutes, given.seed, given.findings)
        print(f"{given.child}: {counts}", flush=True)
        return int(counts.findings > 0)
    end, found = time.monotonic() + 60 * given.minutes, 0
    for number, target in enumerate(itertools.cycle(given.targets)):
        if time.monotonic() > end:
            return int(found > 0)
        found += _supervise(target, ROUND_SECONDS, given.seed + number, given.findings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
