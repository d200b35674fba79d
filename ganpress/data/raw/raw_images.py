"""Iterates over raw images below `data/`, in any supported format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ganpress.data.raw.dataset_card import Layout, read_card
from ganpress.data.raw.idx import IMAGES_MAGIC, idx_chunks, read_header, read_labels
from ganpress.data.raw.image_files import decode, image_names, is_image_name, open_zip, read_member, read_picture_file
from ganpress.errors import DataError

RawSplit = Literal["train", "test", "unsplit"]
SPLIT_FOLDERS: dict[str, RawSplit] = {
    "train": "train",
    "test": "test",
    # A separate validation part is added to train, because prepare holds one out by seed.
    "val": "train",
    "valid": "train",
    "validation": "train",
}
IDX_PREFIXES: dict[str, RawSplit] = {"train": "train", "t10k": "test", "test": "test"}


@dataclass(frozen=True, slots=True)
class RawImage:
    """One image that is not decoded yet."""

    path: str
    """Name below `data/`; images inside an idx file are numbered: `train-images-idx3-ubyte#00012`."""
    split: RawSplit
    label: int
    """Index into `RawImages.classes`; -1 if unlabelled."""
    size_bytes: int
    """Stored bytes of this image."""
    decode: Callable[[], NDArray[np.uint8]]
    """Function that returns uint8 (H, W, C), C = 1 or 3, and raises `DataError` for an unreadable image."""
    stored: Callable[[], bytes]
    """Function that returns the bytes of the file, or the pixels of an idx file."""


@dataclass(frozen=True)
class RawImages:
    """A raw data set that can be iterated repeatedly, always in the same order, with at most one chunk in memory."""

    folder: Path
    source: str
    layout: Layout
    classes: tuple[str, ...]
    """Class names in the order of the labels; empty for unlabelled data."""
    _iterate: Callable[[], Iterator[RawImage]]

    def __iter__(self) -> Iterator[RawImage]:
        return self._iterate()

    def counts(self) -> dict[str, int]:
        """Count the images of each split, decoding none."""
        counts: dict[str, int] = {}
        for image in self:
            counts[image.split] = counts.get(image.split, 0) + 1
        return counts


def open_raw(folder: Path) -> RawImages:
    """Open the data set below `folder`: idx files, one zip of images, or a folder tree of images.

    Raises:
        DataError: if the folder is missing, has no images, has several formats, or has images both inside and outside
            its split or class folders.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; run `ganpress data add digits` (or another source) first")
    card = read_card(folder)
    source = card.source if card else f"folder:{folder}"
    names = tuple(card.classes) if card else ()
    layout = _layout(folder)
    if layout == "idx":
        return _open_idx(folder, source, names)
    if layout == "zip":
        return _open_zip(folder, source)
    return _open_folder(folder, source)


def _layout(folder: Path) -> Layout:
    found: dict[Layout, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if "-images-idx3-ubyte" in path.name:
            found.setdefault("idx", name)
        elif path.suffix.lower() == ".zip":
            found.setdefault("zip", name)
        elif is_image_name(name):
            found.setdefault("folder", name)
    if not found:
        raise DataError(
            f"{folder} holds no images; expected *-images-idx3-ubyte[.gz], one zip of images, or image files "
            "(train/<class>/x.png, <class>/x.png or x.png)"
        )
    if len(found) > 1:
        raise DataError(f"{folder} mixes formats: {', '.join(found.values())}; keep one of them")
    return next(iter(found))


def _open_idx(folder: Path, source: str, names: tuple[str, ...]) -> RawImages:
    files = sorted(folder.rglob("*-images-idx3-ubyte*"))
    labels = {path: _idx_labels(path) for path in files}
    highest = max((int(values.max(initial=0)) for values in labels.values() if values is not None), default=-1)
    if not names:
        names = tuple(str(one) for one in range(highest + 1))
    if highest >= len(names):
        raise DataError(f"{folder} holds labels up to {highest}, but dataset.json names {len(names)} classes")

    def iterate() -> Iterator[RawImage]:
        for path in files:
            yield from _idx_images(folder, path, labels[path])

    return RawImages(folder, source, "idx", names, iterate)


def _idx_labels(images: Path) -> NDArray[np.uint8] | None:
    """Return the labels of an idx file of images; None if it has none."""
    stem = images.name.removesuffix(".gz").replace("-images-idx3", "-labels-idx1")
    path = next((one for one in (images.with_name(stem), images.with_name(stem + ".gz")) if one.is_file()), None)
    if path is None:
        return None
    values, count = read_labels(path), read_header(images, IMAGES_MAGIC).shape[0]
    if len(values) != count:
        raise DataError(f"{path} holds {len(values)} labels, but {images.name} holds {count} images")
    return values


def _idx_images(folder: Path, path: Path, labels: NDArray[np.uint8] | None) -> Iterator[RawImage]:
    split = IDX_PREFIXES.get(path.name.split("-")[0], "unsplit")
    name = path.relative_to(folder).as_posix()
    number = 0
    for chunk in idx_chunks(path, IMAGES_MAGIC):
        for pixels in chunk:
            label = -1 if labels is None else int(labels[number])
            yield RawImage(f"{name}#{number:05d}", split, label, pixels.size, partial(_grey, pixels), pixels.tobytes)
            number += 1


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[:, :, None]


def _decoded(read: Callable[[], bytes], name: str) -> NDArray[np.uint8]:
    return decode(read(), name)


def _open_zip(folder: Path, source: str) -> RawImages:
    files = sorted(folder.rglob("*.zip"))
    if len(files) > 1:
        raise DataError(f"{folder} holds {len(files)} zip files ({files[0].name}, {files[1].name}, …); keep one")
    path = files[0]
    with open_zip(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist() if is_image_name(info.filename)}
    tree = _Tree.of(sorted(sizes), str(path))

    def iterate() -> Iterator[RawImage]:
        with open_zip(path) as archive:
            for name, split, label in tree:
                read = partial(read_member, archive, name)
                yield RawImage(name, split, label, sizes[name], partial(_decoded, read, name), read)

    return RawImages(folder, source, "zip", tree.classes, iterate)


def _open_folder(folder: Path, source: str) -> RawImages:
    tree = _Tree.of(image_names(folder), str(folder))

    def iterate() -> Iterator[RawImage]:
        for name, split, label in tree:
            size_bytes = (folder / name).stat().st_size
            read = partial(read_picture_file, folder / name)
            yield RawImage(name, split, label, size_bytes, partial(_decoded, read, name), read)

    return RawImages(folder, source, "folder", tree.classes, iterate)


def check_folders(names: list[str], where: str) -> None:
    """Refuse names of images whose folders are neither splits nor classes throughout.

    Raises:
        DataError: if so; the message names the first such image.
    """
    _Tree.of(names, where)


@dataclass(frozen=True)
class _Tree:
    """Image names of a folder tree and the meaning of their folders."""

    names: list[str]
    has_splits: bool
    classes: tuple[str, ...]

    @classmethod
    def of(cls, names: list[str], where: str) -> "_Tree":
        if not names:
            raise DataError(f"{where} holds no images")
        outside = [name for name in names if PurePosixPath(name).parts[0] not in SPLIT_FOLDERS or "/" not in name]
        has_splits = len(outside) < len(names)
        if has_splits and outside:
            raise DataError(
                f"{where}: {len(outside)} of {len(names)} images are outside the split folders "
                f"({', '.join(SPLIT_FOLDERS)}), first {outside[0]}; move them or rename the folders"
            )
        classless = [name for name in names if _class_of(name, has_splits) is None]
        if classless and len(classless) < len(names):
            raise DataError(
                f"{where}: {len(classless)} of {len(names)} images are in no class folder, first {classless[0]}; "
                "put all images into class folders or none"
            )
        found = {_class_of(name, has_splits) or "" for name in names}
        # A single folder says nothing about its images.
        return cls(names, has_splits, tuple(sorted(found, key=_natural)) if len(found) > 1 else ())

    def __iter__(self) -> Iterator[tuple[str, RawSplit, int]]:
        number = {name: index for index, name in enumerate(self.classes)}
        for name in self.names:
            split = SPLIT_FOLDERS[name.split("/", 1)[0]] if self.has_splits else "unsplit"
            label = number[_class_of(name, self.has_splits) or ""] if self.classes else -1
            yield name, split, label


def _class_of(name: str, has_splits: bool) -> str | None:
    folders = PurePosixPath(name).parts[int(has_splits) : -1]
    return folders[0] if folders else None


def _natural(name: str) -> tuple[int, int, str]:
    """Sort class folders `0 … 10` as numbers, others as text."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
