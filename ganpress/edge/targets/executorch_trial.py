"""A first call of a strange `.pte` in a process that can be spared: ExecuTorch aborts on some damaged programs.

Its reader is C++ that ends the whole process where others raise an error, so no Python code can catch it.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from ganpress.errors import CheckpointError
from ganpress.files.frames import read_content

TRIAL_SECONDS = 300.0
RUNTIME = "ganpress.edge.targets.executorch_runtime"
"""The module that opens programs; it starts trials, so only the child imports it from here."""
_SOUND: set[str] = set()
"""sha256 of programs that this process wrote, or that came through their trial."""


def is_sound(content: bytes) -> None:
    """Note a program that this process wrote itself, which needs no trial."""
    _SOUND.add(hashlib.sha256(content).hexdigest())


def require_trial(path: Path) -> None:
    """Open and run a program once in another process, unless this one knows it already.

    Raises:
        CheckpointError: if that process dies or does not end.
    """
    digest = hashlib.sha256(read_content(path)).hexdigest()
    if digest in _SOUND:
        return
    command = [sys.executable, "-P", "-c", f"from {RUNTIME} import attempt; attempt()", str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, check=False, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        raise CheckpointError(
            f"{path} did not run in ExecuTorch within {TRIAL_SECONDS:.0f} s; export it again"
        ) from None
    if ended.returncode < 0:
        raise CheckpointError(f"{path} is damaged: ExecuTorch ended by signal {-ended.returncode}; export it again")
    _SOUND.add(digest)  # whatever is wrong with it otherwise is an error that can be caught
