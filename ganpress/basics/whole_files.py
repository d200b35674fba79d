"""Writes files and folders atomically: after a kill or with a full disk, the previous content is still there.

It also moves damaged files aside. No library is used because those for this purpose (atomicwrites and its successors)
handle single files only, and leave the temporary files of a killed process.
"""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

FORMER = "former"


def write_whole(path: Path, content: bytes | memoryview | str) -> None:
    """Write `content` (text as UTF-8) to `path`; its folder is created.

    Raises:
        OSError: if the disk is full or the folder cannot be written; `path` is then unchanged.
    """
    with whole_files(path) as place:
        place.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_files(path: Path, *suffixes: str) -> Iterator[Path]:
    """Yield a path to write to, and move what was written there to `path` if the block succeeds.

    Args:
        path: the file; its folder is created.
        suffixes: suffixes of further files beside it, e.g. `.bin`.

    Yields:
        A path of the same name in a new folder of the same file system.
    """
    with _partial(path) as folder:
        place = folder / path.name
        yield place
        for suffix in (*suffixes, path.suffix):  # The file that readers open is moved last.
            place.with_suffix(suffix).replace(path.with_suffix(suffix))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` if the block succeeds; the previous folder is then removed."""
    with _partial(path) as folder:
        fresh, former = folder / "fresh", folder / FORMER
        fresh.mkdir()
        yield fresh
        if path.exists():
            path.rename(former)
        try:
            fresh.rename(path)
        except BaseException:
            _give_back(former, path)
            raise


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Yield a folder beside `path` that is removed after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_partials(path)
    folder = path.with_name(f".{path.name}.{os.getpid()}.partial")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_partials(path: Path) -> None:
    """Remove temporary files of `path` that killed processes left; those of running processes are kept.

    A process that was killed between the two renames of a folder left the previous folder inside, which is restored.
    """
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        pid = partial.name.removeprefix(f".{path.name}.").removesuffix(".partial")
        if pid.isdecimal() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
            _give_back(partial / FORMER, path)
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)


def _give_back(former: Path, path: Path) -> None:
    if former.exists() and not path.exists():
        former.rename(path)


def put_aside(path: Path, beside: Sequence[str] = ()) -> Path:
    """Rename a damaged file to `<name>.damaged`, or with the next free number appended; return the new path.

    Args:
        path: the file.
        beside: suffixes of files that are renamed with it.
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
