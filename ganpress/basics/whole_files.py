"""Files and folders that are written whole or not at all: a kill or a full disk leaves what was there before.

Beside it, what to do with a file that others left damaged. By hand: the libraries for this (atomicwrites and its heirs)
know single files only, and leave behind what a killed process wrote.
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
    """Write `content` (text as UTF-8) to `path`; its folder is made.

    Raises:
        OSError: if the disk is full or the folder cannot be written; `path` is then as it was.
    """
    with whole_files(path) as place:
        place.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_files(path: Path, *suffixes: str) -> Iterator[Path]:
    """Give a place to write at, and move what was written there to `path` when all went well.

    Args:
        path: the file; its folder is made.
        suffixes: of further files beside it, e.g. `.bin`.

    Yields:
        A path of the same name in a new folder of the same file system.
    """
    with _partial(path) as folder:
        place = folder / path.name
        yield place
        for suffix in (*suffixes, path.suffix):  # the one that is opened comes last
            place.with_suffix(suffix).replace(path.with_suffix(suffix))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `path` when all went well; what lies beside it then is removed."""
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
    """Give a folder beside `path` that is gone after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_partials(path)
    folder = path.with_name(f".{path.name}.{os.getpid()}.partial")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_partials(path: Path) -> None:
    """Remove what killed processes left of `path`; one that still runs keeps its own.

    One that was killed between the two renames of a folder left the former one inside, and it goes back to its place.
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
