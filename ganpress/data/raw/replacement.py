"""Replacing a folder all or nothing: made in a sibling, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from ganpress.errors import DataError


@contextmanager
def replacing(destination: Path) -> Iterator[tuple[Path, Path]]:
    """Give an empty target and a scratch folder beside `destination`; put the target in its place if all goes well.

    Raises:
        DataError: if `destination` has no parent folder.
    """
    parent = destination.parent
    if not parent.is_dir():
        raise DataError(f"{parent} does not exist; run from the project's root")
    prefix = f".{destination.name}.importing-"
    _clean_leftovers(destination, prefix)
    work = parent / f"{prefix}{os.getpid()}"
    target, scratch, former = work / "target", work / "scratch", work / "former"
    try:
        target.mkdir(parents=True)
        scratch.mkdir()
        yield target, scratch
        if destination.exists():
            destination.rename(former)
        try:
            target.rename(destination)
        except BaseException:
            if former.exists():
                former.rename(destination)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _clean_leftovers(destination: Path, prefix: str) -> None:
    """Remove what a killed import left; one that still runs keeps its own.

    An import that was killed between its two renames left the former folder inside, and it goes back to its place.
    """
    for leftover in destination.parent.glob(f"{prefix}*"):
        pid = leftover.name.removeprefix(prefix)
        if not pid.isdecimal() or int(pid) == os.getpid() or not psutil.pid_exists(int(pid)):
            if (leftover / "former").exists() and not destination.exists():
                (leftover / "former").rename(destination)
            shutil.rmtree(leftover, ignore_errors=True)
