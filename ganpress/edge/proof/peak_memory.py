"""Measures the peak memory of an edge file: the growth of a process that loads and runs the file once."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from ganpress.errors import CheckpointError

STATUS = Path("/proc/self/status")
PROBE_SECONDS = 300
HOME = str(Path(__file__).resolve().parents[3])
"""The folder of this project's packages."""


def peak_memory(target: str, path: Path, example: Tensor) -> int | None:
    """Load and run a file in a new process on one thread and return the growth of its resident memory in bytes.

    Growth is counted from before the runtime is imported, with torch loaded, so it includes the runtime's own code.

    Args:
        target: a name in `ganpress.registries.TARGETS`.
        path: the file that the target opens.
        example: one input (1, …).

    Returns:
        Bytes; None if the operating system does not report them (only Linux does).

    Raises:
        CheckpointError: if the process fails, e.g. for lack of memory, or takes longer than `PROBE_SECONDS`.
    """
    if not STATUS.exists():
        return None
    with tempfile.TemporaryDirectory(prefix="ganpress-memory-") as folder:
        place = Path(folder) / "example.pt"
        torch.save(example, place)
        command = [sys.executable, "-P", "-m", "ganpress.edge.proof.peak_memory", target, str(path), str(place)]
        paths = (HOME, os.environ.get("PYTHONPATH", ""))  # not the working directory, which may contain a models.py
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            reason = f"one input took more than {PROBE_SECONDS} s"
            raise CheckpointError(f"{path} cannot be run in a process of its own: {reason}; export it again") from None
    if done.returncode != 0:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1][:200]
        raise CheckpointError(f"{path} cannot be run in a process of its own: {reason}; export it again")
    return int(json.loads(done.stdout.splitlines()[-1]))


def _status_bytes(field: str) -> int:
    """Return `VmRSS` or `VmHWM` of this process in bytes."""
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def _probe(target: str, path: Path, example: Path) -> int:
    from ganpress.registries import TARGETS

    torch.set_num_threads(1)
    inputs = torch.load(example, weights_only=True)
    before = _status_bytes("VmRSS")
    TARGETS[target].open(path, threads=1)(inputs)
    return _status_bytes("VmHWM") - before


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_probe(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))) + "\n")
