"""Converts raw images to one uint8 array per split, streamed, so that memory does not grow with the number of
images.
"""

import hashlib
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpress.basics.progress import ticker
from ganpress.config.data_section import PrepareConfig
from ganpress.data.prepared.arrays import SPLITS, UNLABELLED, PreparedMeta
from ganpress.data.prepared.fitting import fit_image, kept_part
from ganpress.data.prepared.image_choice import first_of_each_class, rank
from ganpress.data.raw.dataset_card import TEST_FRACTION
from ganpress.data.raw.raw_images import RawImages
from ganpress.errors import DataError

RESIZE = "centre crop to a square, then Pillow's antialiased triangle filter (BILINEAR)"
RESIZE_OBLONG = "centre crop to the result's proportions, then Pillow's antialiased triangle filter (BILINEAR)"
OTHER_FITS = {
    "stretch": "the whole picture, by Pillow's antialiased triangle filter (BILINEAR)",
    "cut": "a part in the middle of the result's size, not resampled; smaller pictures as by `crop`",
}
NOT_USED = -1


@dataclass(frozen=True)
class SplitPlan:
    """Assignment of each raw image to a split; all arrays are (N,), in the order of the raw images."""

    split: NDArray[np.int8]
    """Index into `SPLITS`, or `NOT_USED`."""
    position: NDArray[np.int64]
    """Position in its split."""
    labels: NDArray[np.int64]
    """Class number; -1 if unlabelled."""

    def count(self, split: int) -> int:
        """Number of images of one split."""
        return int((self.split == split).sum())

    def counts(self) -> dict[str, int]:
        """Number of images of each split, by name."""
        return {name: self.count(index) for index, name in enumerate(SPLITS)}


def plan_splits(raw: RawImages, config: PrepareConfig, seed: int) -> SplitPlan:
    """Decide split and position of every image, stratified if there are classes, without decoding any.

    The test split is the raw one or, if there is none, 10 % of the images. Validation is `validation_fraction` of the
    rest, and train what remains, cut to `max_train_images`. Each split is in seeded random order, so that its first n
    images are a fair sample of it although raw data is sorted by class. Images of equal content go to the same split,
    because a test picture could otherwise be memorised; a test split of the data itself is not changed.

    Raises:
        DataError: if a split would be empty.
    """
    index = _index(raw, seed)
    given, labels, ranks = index["test"], index["label"].copy(), index["rank"].copy()
    is_test = given
    if not given.any():
        is_test = first_of_each_class(ranks, labels, round(len(labels) * TEST_FRACTION))
    split = np.full(len(labels), NOT_USED, np.int8)
    split[is_test] = SPLITS.index("test")
    held_out = round(int((~is_test).sum()) * config.validation_fraction)
    _assign(split, SPLITS.index("validation"), ranks, labels, held_out)
    remaining = int((split == NOT_USED).sum())
    _assign(split, SPLITS.index("train"), ranks, labels, min(remaining, config.max_train_images or remaining))
    split[~given] = split[~given][_first_of_equal(index["content"][~given])]
    position = np.zeros(len(labels), np.int64)
    for number, name in enumerate(SPLITS):
        members = np.flatnonzero(split == number)
        if len(members) == 0:
            raise DataError(
                f"{raw.folder}: {len(labels)} images leave none for the {name} split; "
                "add images or change prepare.validation_fraction in params.yaml"
            )
        position[members[np.argsort(index["order"][members], kind="stable")]] = np.arange(len(members))
    return SplitPlan(split, position, labels)


def _index(raw: RawImages, seed: int) -> NDArray[np.void]:
    """Read the facts about each image that need no decoding, as records (N,).

    `rank` chooses the split and `order` the position in it. If one number chose both, the first images of train would
    be those of the classes from which validation took least.
    """
    fields = np.dtype(
        [("test", np.bool_), ("label", np.int64), ("rank", np.int64), ("order", np.int64), ("content", np.uint64)]
    )
    facts = (
        (
            *(image.split == "test", image.label),
            *(rank(seed, "split", image.path), rank(seed, "order", image.path)),
            _digest(image.stored()),
        )
        for image in raw
    )
    return np.fromiter(facts, fields)


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _first_of_equal(content: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return, for each image, the index of the first one with the same content, which is usually its own."""
    _, first, same = np.unique(content, return_index=True, return_inverse=True)
    places: NDArray[np.int64] = first[same]
    return places


def _assign(
    split: NDArray[np.int8], index: int, ranks: NDArray[np.int64], labels: NDArray[np.int64], count: int
) -> None:
    """Give `count` images that have no split yet to split `index`, in place."""
    free = np.flatnonzero(split == NOT_USED)
    split[free[first_of_each_class(ranks[free], labels[free], count)]] = index


class _SplitWriter:
    """A .npy file of uint8 (N, C, H, W) whose images are written at any index, in any order.

    Written with positioned writes, not through a memory map: a full disk is then an `OSError` with a message, where a
    memory map would end the process with a bus error; and written pages do not count as this process's memory.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self._file = path.open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.flush()
        self._start, self._image_bytes = self._file.tell(), int(np.prod(shape[1:]))

    def write(self, position: int, image: NDArray[np.uint8]) -> None:
        content, offset = image.tobytes(), self._start + position * self._image_bytes
        while content:
            written = os.pwrite(self._file.fileno(), content, offset)
            content, offset = content[written:], offset + written

    def close(self) -> None:
        self._file.close()


class SplitFiles:
    """The open files `<split><suffix>.npy` of one kind of image.

    Args:
        out: folder of the files.
        plan: number of images of each split, and the position of each image.
        shape: (C, H, W) of an image.
        suffix: `_sources`, or empty for targets.
    """

    def __init__(self, out: Path, plan: SplitPlan, shape: tuple[int, int, int], suffix: str = "") -> None:
        self.plan, self._stack = plan, ExitStack()
        self._writers = []
        for index, split in enumerate(SPLITS):
            self._writers.append(_SplitWriter(out / f"{split}{suffix}.npy", (plan.count(index), *shape)))
            self._stack.callback(self._writers[-1].close)

    def wants(self, number: int) -> bool:
        """Return whether raw image `number` is used."""
        return int(self.plan.split[number]) != NOT_USED

    def write(self, number: int, image: NDArray[np.uint8]) -> None:
        """Write the converted raw image `number` to its position."""
        self._writers[int(self.plan.split[number])].write(int(self.plan.position[number]), image)

    def __enter__(self) -> "SplitFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def prepare_images(raw: RawImages, config: PrepareConfig, seed: int, out: Path) -> PreparedMeta:
    """Write `<split>.npy`, `<split>_labels.npy` and `meta.json` below `out`; equal input gives equal bytes.

    Raises:
        DataError: if an image cannot be decoded or a split would be empty.
    """
    plan = plan_splits(raw, config, seed)
    write_images(raw, plan, config, out)
    meta = target_meta(raw, plan, config)
    meta.save(out)
    return meta


def write_images(raw: RawImages, plan: SplitPlan, config: PrepareConfig, out: Path) -> None:
    """Write `<split>.npy` and `<split>_labels.npy`."""
    shape = (config.image_size, config.target_width)
    files = SplitFiles(out, plan, (config.channels, *shape))
    with files, ticker("prepare", len(plan.split), "images") as progress:
        for number, image in enumerate(raw):
            if files.wants(number):
                pixels = image.decode()
                part = kept_part(pixels.shape[:2], shape, config.fit)
                files.write(number, fit_image(pixels, shape, config.channels, part))
            progress.advance(1)
    write_labels(plan, out)


def write_labels(plan: SplitPlan, out: Path) -> None:
    """Write `<split>_labels.npy`."""
    for index, name in enumerate(SPLITS):
        members = plan.split == index
        labels = np.full(plan.count(index), UNLABELLED, np.int64)
        labels[plan.position[members]] = plan.labels[members]
        np.save(out / f"{name}_labels.npy", labels)


def target_meta(raw: RawImages, plan: SplitPlan, config: PrepareConfig) -> PreparedMeta:
    """Describe the (target) images; not saved yet."""
    square = config.target_width == config.image_size
    resize = OTHER_FITS.get(config.fit) or (RESIZE if square else RESIZE_OBLONG)
    classes = list(raw.classes)
    return PreparedMeta(
        raw.source,
        config.image_size,
        config.channels,
        classes,
        plan.counts(),
        resize,
        width=config.target_width,
        latent=config.latent,
    )
