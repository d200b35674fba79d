"""Measures `ganpress run` in a new clone: from nothing to the report, then again with nothing to do.

    python -m benchmarks.first_run [--data SOURCE] [arguments of ganpress run …]

It clones HEAD into an empty folder with its own caches. With `--data` the clone runs on that source, e.g.
`folder:/data/faces`, after `ganpress data add` and without other settings. The environment is the one that runs this
command, so the time does not include installing. Quote it for a quiet machine, with the number of cores.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print the two times, and the processor's of all processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "ganpress"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GANPRESS_", "MLFLOW_", "PREFECT_"))
        }
        environment = kept | {"PYTHONPATH": str(clone)}
        if options.data is not None:
            command = [sys.executable, "-m", "flows", "data", "add", options.data]
            subprocess.run(command, cwd=clone, env=environment, check=True)
        for label in ("first run", "second run"):
            started, spent = time.perf_counter(), _cpu_seconds()
            command = [sys.executable, "-m", "flows", "run", *arguments]
            subprocess.run(command, cwd=clone, env=environment, check=True)
            wall, cpu = time.perf_counter() - started, _cpu_seconds() - spent
            print(f"{label}: {wall:.1f} s on {os.cpu_count()} cores, {cpu:.0f} CPU s", flush=True)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
