"""Importing raw data: all or nothing, from a local copy or through torchvision."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ganpress.data.card import FOLDER_PREFIX, DatasetCard
from ganpress.data.file_sources import CELEBA_ADVICE, CIFAR_ADVICE, write_celeba, write_cifar10, write_folder
from ganpress.data.idx_sources import FASHION_MNIST, MNIST, IdxSource, write_digits
from ganpress.errors import ConfigError, DataError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Source:
    """How one source comes in."""

    write: Callable[[Path, Path, Path], DatasetCard]
    """(local copy, target, scratch folder) -> card; leaves exactly the data set in target."""
    download: Callable[[Path], Path] | None
    """Downloads below a folder and returns where `write` finds it; None where nothing is downloaded."""
    advice: str
    """What to fetch by hand."""


def _idx(source: IdxSource) -> Source:
    return Source(lambda path, target, _: source.write(path, target), source.download, source.advice)


def _torchvision(name: str, **arguments: object) -> Callable[[Path], Path]:
    def download(folder: Path) -> Path:
        from torchvision import datasets

        getattr(datasets, name)(str(folder), download=True, **arguments)
        return folder

    return download


SOURCES: dict[str, Source] = {
    "digits": Source(lambda _path, target, _scratch: write_digits(target), None, ""),
    "mnist": _idx(MNIST),
    "fashion-mnist": _idx(FASHION_MNIST),
    "cifar10": Source(write_cifar10, _torchvision("CIFAR10"), CIFAR_ADVICE),
    "celeba": Source(
        lambda path, target, _: write_celeba(path, target), _torchvision("CelebA", split="all"), CELEBA_ADVICE
    ),
}


def import_data(source: str, path: Path | None, destination: Path) -> DatasetCard:
    """Write `source` into `destination`, replacing what is there only when all is well.

    Args:
        source: `digits`, `mnist`, `fashion-mnist`, `cifar10`, `celeba` or `folder:<path>`.
        path: local copy: a folder that holds its files at any depth, or an archive; None downloads.
        destination: the data folder; made in a sibling, checked there, then renamed.

    Raises:
        ConfigError: if the source is unknown.
        DataError: if the local copy is missing or damaged, the download fails or the disk is full; then nothing is left
            behind, `destination` is as it was, and the message says how to go on.
    """
    chosen, local = _source(source, path)
    try:
        with _replacing(destination) as (target, scratch):
            if local is None and chosen.download is not None:
                local = _download(source, chosen, scratch)
            card = chosen.write(local or target, target, scratch)
            card.save(target)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        free_mib = shutil.disk_usage(destination.parent).free // 2**20
        raise DataError(
            f"no disk space for {source} in {destination.parent} ({free_mib} MiB are free); nothing was left behind: "
            "free some space and run the same command again"
        ) from None
    return card


def _folder(source: str) -> Path:
    return Path(source.removeprefix(FOLDER_PREFIX)).expanduser()


def _source(source: str, path: Path | None) -> tuple[Source, Path | None]:
    if source.startswith(FOLDER_PREFIX):
        return Source(lambda folder, target, _: write_folder(folder, target), None, ""), path or _folder(source)
    if source not in SOURCES:
        raise ConfigError(f"data source '{source}' is unknown; known: {', '.join(SOURCES)}, {FOLDER_PREFIX}<path>")
    if path is not None and not path.exists():
        advice = SOURCES[source].advice or "leave the path away"
        raise DataError(f"{path} does not exist; name the folder that holds {source}'s files ({advice})")
    return SOURCES[source], path


def _download(name: str, source: Source, scratch: Path) -> Path:
    assert source.download is not None
    try:
        return source.download(scratch)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        reason = str(error)
    except Exception as error:  # torchvision and gdown raise many types; each means: no data
        reason = str(error) or type(error).__name__
    line = " ".join(reason.split())[:200]
    raise DataError(
        f"download of {name} failed ({line}); nothing was left behind. "
        f"Try again, or {source.advice} and run `ganpress data add {name} --path <folder>`"
    ) from None


@contextmanager
def _replacing(destination: Path) -> Iterator[tuple[Path, Path]]:
    """Give an empty target and a scratch folder beside `destination`; put the target in its place if all goes well."""
    parent = destination.parent
    if not parent.is_dir():
        raise DataError(f"{parent} does not exist; run from the project's root")
    prefix = f".{destination.name}.importing-"
    _remove_leftovers(parent, prefix)
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


def _remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove what a killed import left; one that still runs keeps its own."""
    for leftover in parent.glob(f"{prefix}*"):
        pid = leftover.name.removeprefix(prefix)
        if not pid.isdecimal() or int(pid) == os.getpid() or not psutil.pid_exists(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)
