"""Files that are written whole or not at all, so that a kill or a full disk leaves what was there before."""

import os
from pathlib import Path

import psutil


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) beside `path` and move it there; the folder is made.

    Raises:
        OSError: if the disk is full or the folder cannot be written; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(path: Path) -> None:
    """Remove what killed processes left of `path`; one that still runs keeps its own."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        pid = partial.name.split(".")[-2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            partial.unlink(missing_ok=True)
