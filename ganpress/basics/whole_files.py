"""Files that are written whole or not at all, so that a kill or a full disk leaves what was there before.

Beside it, what to do with a file that others left damaged.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import psutil


def write_whole(path: Path, content: bytes | memoryview | str) -> None:
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


def put_aside(path: Path, beside: Sequence[str] = ()) -> Path:
    """Rename a damaged file to `<name>.damaged`, or with the next free number behind it; return where it went.

    Args:
        path: the file.
        beside: endings behind its name, of files that go along.
    """
    place = path.with_name(f"{path.name}.damaged")
    number = 1
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.damaged{number}")
    path.rename(place)
    for suffix in beside:
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(place.with_name(place.name + suffix))
    return place
