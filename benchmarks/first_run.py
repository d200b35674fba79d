"""Wall time of `ganpress run` in a fresh clone: from nothing to the report, then again with nothing to do.

`python -m benchmarks.first_run [arguments of ganpress run …]`

Clones HEAD into an empty folder with caches of its own. The environment is the one that runs this command, so
installing is not in the time. Quote it for a quiet machine, and say how many cores it has.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print the two times."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "ganpress"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GANPRESS_", "MLFLOW_", "PREFECT_"))
        }
        for label in ("first run", "second run"):
            started = time.perf_counter()
            command = [sys.executable, "-m", "flows", "run", *sys.argv[1:]]
            subprocess.run(command, cwd=clone, env=kept | {"PYTHONPATH": str(clone)}, check=True)
            print(f"{label}: {time.perf_counter() - started:.1f} s on {os.cpu_count()} cores", flush=True)


if __name__ == "__main__":
    main()
