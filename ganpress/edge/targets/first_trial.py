"""Tries an unknown file in another process first, because some damaged files make ExecuTorch and MNN crash.

Their C++ readers end the whole process by a signal where other runtimes raise an error, so no Python code can catch it.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from ganpress.errors import CheckpointError
from ganpress.files.frames import read_content

TRIAL_SECONDS = 300.0
_SOUND: set[str] = set()
"""sha256 of files that this process wrote, or that passed their trial."""


def is_sound(content: bytes) -> None:
    """Record a file that this process wrote itself, so that it needs no trial."""
    _SOUND.add(hashlib.sha256(content).hexdigest())


def require_trial(path: Path, title: str, module: str) -> None:
    """Open and run a file once in another process, unless it is recorded as sound.

    Args:
        path: plain or packed.
        title: the runtime's name in messages.
        module: module of the runtime's function `attempt`, which opens and runs the file that the command line names.
            Only the child process imports it, because that module itself imports this one.

    Raises:
        CheckpointError: if that process dies or does not end.
    """
    digest = hashlib.sha256(read_content(path)).hexdigest()
    if digest in _SOUND:
        return
    command = [sys.executable, "-P", "-c", f"from {module} import attempt; attempt()", str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, check=False, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"{path} did not run in {title} within {TRIAL_SECONDS:.0f} s; export it again") from None
    if ended.returncode < 0:
        raise CheckpointError(f"{path} is damaged: {title} ended by signal {-ended.returncode}; export it again")
    _SOUND.add(digest)  # any other fault is an error that can be caught
