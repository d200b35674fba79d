"""Splits the CPU seconds of a run into the stages' own work and the orchestration.

`python -m benchmarks.orchestration -- --recipe mnist` runs `ganpress run --recipe mnist` and watches its process tree;
`--pid N` watches a run that was started elsewhere. A process counts as work if it is a stage (`python -m tasks.…`), its
import of torch included; the flow, Prefect's server, DVC, the watchdogs and the MLflow recorder are orchestration.
"""

import argparse
import subprocess
import sys
import time
from collections import defaultdict

import psutil

POLL_SECONDS = 0.5


def kind_of(command: list[str]) -> str:
    """Name what a process of the run is, by its command line."""
    line = " ".join(command)
    for kind, sign in (
        ("stages", "-m tasks."),
        ("DVC", "-m dvc"),
        ("watchdogs", "stage_process"),
        ("MLflow recorder", "ganpress.tracking.recorder"),
        ("Prefect server", "uvicorn"),
    ):
        if sign in line and not (kind == "stages" and "-m dvc" in line):
            return kind
    return "flow"


def watch(root: psutil.Process) -> dict[str, float]:
    """Return CPU seconds by kind of process, polled until `root` ends; a process's last reading counts."""
    spent: dict[tuple[int, float], tuple[str, float]] = {}
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        for process in [root, *root.children(recursive=True)]:
            try:
                times, command = process.cpu_times(), process.cmdline()
                key = (process.pid, process.create_time())
                # A process that has ended but was not waited for has times and no command any more.
                kind = kind_of(command) if command else spent.get(key, ("unknown", 0.0))[0]
                spent[key] = (kind, times.user + times.system)
            except psutil.Error:
                continue
        time.sleep(POLL_SECONDS)
    totals: dict[str, float] = defaultdict(float)
    for kind, seconds in spent.values():
        totals[kind] += seconds
    return totals


def main() -> None:
    """Print CPU seconds by kind, and orchestration as a share of the work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pid", type=int, help="watch this flow instead of starting one")
    parser.add_argument("arguments", nargs="*", help="of `ganpress run`, after --")
    options = parser.parse_args()
    started = time.monotonic()
    if options.pid is not None:
        totals = watch(psutil.Process(options.pid))
    else:
        flow = subprocess.Popen([sys.executable, "-m", "flows", "run", *options.arguments])
        totals = watch(psutil.Process(flow.pid))
        flow.wait()
    for kind, seconds in sorted(totals.items(), key=lambda entry: -entry[1]):
        print(f"{kind:>16} {seconds:8.1f} CPU s")
    around = sum(seconds for kind, seconds in totals.items() if kind not in ("stages", "unknown"))
    share = around / max(totals.get("stages", 0.0), 1e-9)
    print(f"orchestration is {share:.1%} of the stages' work; {time.monotonic() - started:.0f} s watched")


if __name__ == "__main__":
    main()
