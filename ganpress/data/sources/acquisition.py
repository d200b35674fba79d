"""Imports raw data completely or not at all, from a local copy or through torchvision."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ganpress.basics.whole_files import whole_folder
from ganpress.data.raw.dataset_card import (
    DERIVED_KINDS,
    PATH_KINDS,
    TARGET_FOLDER,
    DatasetCard,
    display_name,
    split_direction,
)
from ganpress.data.sources.derived_sources import add_copy, add_edges, add_segments, write_domains
from ganpress.data.sources.file_sources import write_folder
from ganpress.data.sources.pair_sources import Direction, write_pairs, write_unpaired
from ganpress.data.sources.plain_pictures import PictureStyle
from ganpress.data.sources.semantic_sources import write_semantic
from ganpress.data.sources.source import Source
from ganpress.errors import ConfigError, DataError
from ganpress.registries import SOURCES

PLAIN_STYLE = PictureStyle()
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def import_data(source: str, path: Path | None, destination: Path, style: PictureStyle = PLAIN_STYLE) -> DatasetCard:
    """Write `source` to `destination`, which is replaced only after the import has succeeded.

    Args:
        source: one of `ganpress.registries.SOURCES`, `<kind>:<path>` of a user's images, or `<kind>:<base>` derived
            from another source (docs/data.md).
        path: local copy: a folder that holds its files at any depth, or an archive; None downloads.
        destination: the data folder; it is created beside it, checked there, then renamed.
        style: conversion of transparent pictures and those of more than eight bits of `folder:<path>`.

    Raises:
        ConfigError: if the source is unknown.
        DataError: if the local copy is missing or damaged, the download fails or the disk is full; then nothing is
            left behind, `destination` is unchanged, and the message says how to continue.
    """
    check_source(source)
    if not destination.parent.is_dir():
        raise DataError(f"{destination.parent} does not exist; run from the project's root")
    try:
        with whole_folder(destination) as target:
            scratch = target.with_name("scratch")
            scratch.mkdir()
            card = replace(_fill(source, path, target, scratch, style), source=display_name(source))
            card.save(target)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        free_mib = shutil.disk_usage(destination.parent).free // 2**20
        raise DataError(
            f"no disk space for {source} in {destination.parent} ({free_mib} MiB are free); nothing was left behind: "
            "free disk space and run the same command again"
        ) from None
    return card


def check_source(source: str) -> None:
    """Refuse an invalid source before anything is read.

    Raises:
        ConfigError: if it is unknown, or derived from one that is not plain images.
    """
    kind, colon, rest = source.partition(":")
    if kind in DERIVED_KINDS and colon:
        base = base_of(source)
        check_source(base)
        has_sources = base.split(":")[0] in (*DERIVED_KINDS, "pairs", "unpaired", "semantic")
        if has_sources or (base in SOURCES and SOURCES[base].conditional):
            raise ConfigError(f"'{source}': {kind} are made from plain images, and {base} has sources and targets")
    elif not (kind in PATH_KINDS and rest) and source not in SOURCES:
        raise ConfigError(
            f"data source '{source}' is unknown; known: {SOURCES.listing()}, "
            f"{', '.join(f'{one}:<path>' for one in PATH_KINDS)}, {', '.join(f'{one}:<base>' for one in DERIVED_KINDS)}"
        )


def _fill(source: str, path: Path | None, target: Path, scratch: Path, style: PictureStyle) -> DatasetCard:
    kind, colon, _ = source.partition(":")
    if kind in DERIVED_KINDS and colon:
        return _derive(source, kind, path, target, scratch, style)
    chosen, local = _source(source, path, style)
    if local is None and chosen.download is not None:
        local = _download(source, chosen, scratch)
    return chosen.write(local or target, target, scratch)


def _derive(source: str, kind: str, path: Path | None, target: Path, scratch: Path, style: PictureStyle) -> DatasetCard:
    """Import the base source and derive the conditional data from it."""
    base = base_of(source)
    folder = scratch / "base" if kind == "domains" else target / TARGET_FOLDER
    base_scratch = scratch / "base_scratch"
    folder.mkdir()
    base_scratch.mkdir()
    replace(_fill(base, path, folder, base_scratch, style), source=display_name(base)).save(folder)
    if kind == "domains":
        one, other = source.split(":")[-2:]
        return write_domains(folder, target, source, (one, other))
    return {"edges": add_edges, "segments": add_segments, "superres": add_copy}[kind](target, source)


def base_of(source: str) -> str:
    """Return the base of a derived source.

    Raises:
        ConfigError: if it is malformed.
    """
    kind, _, rest = source.partition(":")
    if kind != "domains":
        return rest
    parts = rest.rsplit(":", 2)
    if len(parts) != 3 or not all(parts):
        raise ConfigError(f"'{source}' is incomplete; expected domains:<base>:<class,class,…>:<class,class,…>")
    return parts[0]


def _source(source: str, path: Path | None, style: PictureStyle) -> tuple[Source, Path | None]:
    kind, colon, place = source.partition(":")
    if kind in PATH_KINDS and colon:
        return _user_source(kind, place, path, style)
    if path is not None and not path.exists():
        advice = SOURCES[source].advice or "leave the path out"
        raise DataError(f"{path} does not exist; name the folder that holds {source}'s files ({advice})")
    return SOURCES[source], path


def _user_source(kind: str, place: str, path: Path | None, style: PictureStyle) -> tuple[Source, Path]:
    """Return the source of a user's own images, and their path."""
    direction: Direction = "AB"
    if kind == "pairs":
        place, named = split_direction(place)
        direction = "BA" if named == "BA" else "AB"
    writers: dict[str, Callable[[Path, Path, Path], DatasetCard]] = {
        "folder": lambda folder, target, scratch: write_folder(folder, target, scratch, style),
        "pairs": lambda folder, target, scratch: write_pairs(folder, target, scratch, direction),
        "unpaired": write_unpaired,
        "semantic": write_semantic,
    }
    return Source(writers[kind], None, ""), path or Path(place).expanduser()


def _download(name: str, source: Source, scratch: Path) -> Path:
    assert source.download is not None
    try:
        return source.download(scratch)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        reason = str(error)
    except Exception as error:  # torchvision and gdown raise many types of errors; each means that the download failed.
        reason = str(error) or type(error).__name__
    line = " ".join(reason.split())[:200]
    raise DataError(
        f"download of {name} failed ({line}); nothing was left behind. "
        f"Try again, or {source.advice} and run `ganpress data add {name} --path <folder>`"
    ) from None
