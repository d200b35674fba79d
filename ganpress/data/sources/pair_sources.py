"""Sources of two image sets, in the layouts of pix2pix and CycleGAN: paired `A|B` pictures, or two domains.

pix2pix (Isola et al. 2017): one picture has A on its left and B on its right, below `train/`, `val/`, `test/`.
CycleGAN (Zhu et al. 2017): `trainA/`, `trainB/`, `testA/`, `testB/`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ganpress.data.prepared.image_choice import rank
from ganpress.data.raw.dataset_card import SOURCE_FOLDER, TARGET_FOLDER, DatasetCard
from ganpress.data.raw.file_tree import FileTree, open_tree
from ganpress.data.raw.image_files import ZipPacker, decode, encode_png, is_image_name
from ganpress.data.raw.raw_images import SPLIT_FOLDERS, open_raw
from ganpress.data.sources.file_sources import ARCHIVE_NAME
from ganpress.data.sources.folder_layout import SPLIT_WORDS
from ganpress.errors import DataError

Direction = Literal["AB", "BA"]
SPLIT_SEED = 2017
"""Fixed seed, because the test split of edges2shoes is part of the data set, not of a run."""
PAIRS_LAYOUT = "pictures of A and B side by side below train/, val/ and test/, or two folders source/ and target/"
FOLDERS = {**SPLIT_WORDS, SOURCE_FOLDER: SOURCE_FOLDER, TARGET_FOLDER: TARGET_FOLDER}
"""Folder names of pairs in lower case, with their names here."""
DOMAINS = {name.lower(): name for name in ("trainA", "trainB", "testA", "testB")}
"""Folder names of two domains in lower case, with their names here."""
UNPAIRED_LAYOUT = "images below trainA/ and trainB/ (and testA/, testB/)"


@dataclass(frozen=True)
class PairSet:
    """A published paired set in the layout of pix2pix, and its split."""

    source: str
    direction: Direction
    """`AB`: the left half is the source; `BA`: the right one."""
    counts: tuple[tuple[str, int], ...]
    """Number of pairs in train and test."""
    test_pairs: int | None = None
    """Number of test pairs to draw from all; None: test/ is the test split, or val/ if there is no test/."""


EDGES2SHOES = PairSet("edges2shoes", "AB", (("test", 2_048), ("train", 47_977)), test_pairs=2_048)
MAPS = PairSet("maps", "BA", (("test", 1_098), ("train", 1_096)))
FACADES = PairSet("facades", "BA", (("test", 106), ("train", 500)))


def target_folders(target: Path) -> tuple[Path, Path]:
    """Create `source/` and `target/` below `target` and return their zips."""
    zips = (target / SOURCE_FOLDER / ARCHIVE_NAME, target / TARGET_FOLDER / ARCHIVE_NAME)
    for one in zips:
        one.parent.mkdir()
    return zips


def write_pairs(path: Path, target: Path, scratch: Path, direction: Direction = "AB") -> DatasetCard:
    """Pack a user's pairs: `source/` and `target/` folders as they are, or pictures of two halves, cut in the middle.

    Raises:
        DataError: if there are none, or a picture can't be read or halved.
    """
    with open_tree(path, scratch) as whole:
        whole = whole.spelt(FOLDERS)
        tree = whole.rooted_above((SOURCE_FOLDER, TARGET_FOLDER))
        if tree.has(SOURCE_FOLDER) and tree.has(TARGET_FOLDER):
            sides = (SOURCE_FOLDER, TARGET_FOLDER) if direction == "AB" else (TARGET_FOLDER, SOURCE_FOLDER)
            for packed, side in zip(target_folders(target), sides, strict=True):
                _pack(packed, tree.below(side), ((name, name) for name in _images(tree.below(side))))
        else:
            tree = whole.rooted_above(tuple(SPLIT_FOLDERS))
            _cut(tree, _val_as_test(_images(tree, PAIRS_LAYOUT)), target, direction)
    return describe_pairs("pairs", target, "pairs of images")


def write_pair_set(one: PairSet, path: Path, target: Path, scratch: Path) -> DatasetCard:
    """Pack a published set from its folder or archive, with the split of the publications.

    Raises:
        DataError: if pictures are missing or can't be read.
    """
    with open_tree(path, scratch) as whole:
        tree = whole.spelt(FOLDERS).rooted_above(tuple(SPLIT_FOLDERS))
        _cut(tree, _published_split(one, _images(tree, PAIRS_LAYOUT)), target, one.direction)
    card = describe_pairs(one.source, target, "pix2pix, Isola et al. 2017")
    check_counts(card.source, card.counts, one.counts, path)
    return card


def _published_split(one: PairSet, names: list[str]) -> list[tuple[str, str]]:
    """Return (name, name below the split that it belongs to), sorted by the latter."""
    if one.test_pairs is None:
        return _val_as_test(names)
    chosen = set(sorted(names, key=lambda name: rank(SPLIT_SEED, "split", name))[: one.test_pairs])
    written = ((name, f"{'test' if name in chosen else 'train'}/{name.replace('/', '_')}") for name in names)
    return sorted(written, key=lambda pair: pair[1])


def _val_as_test(names: list[str]) -> list[tuple[str, str]]:
    """Return (name, name to write); if there is no test/, val/ is the usual test split."""
    if any(name.startswith("test/") for name in names):
        return [(name, name) for name in names]
    return sorted(((name, re.sub("^val/", "test/", name)) for name in names), key=lambda pair: pair[1])


def _images(tree: FileTree, layout: str = "images") -> list[str]:
    names = [name for name in tree.names if is_image_name(name)]
    if not names:
        raise DataError(f"{tree.where} holds no images; expected {layout}")
    return names


def _cut(tree: FileTree, names: Iterable[tuple[str, str]], target: Path, direction: Direction) -> None:
    """Write both halves of every picture, losslessly; each picture is read once."""
    first, second = target_folders(target)
    with ZipPacker(first) as sources, ZipPacker(second) as targets:
        for name, written in names:
            picture = decode(tree.read(name), name)
            width = picture.shape[1]
            if width % 2:
                raise DataError(
                    f"{tree.where}: {name} is {width} pixels wide, which cannot be halved; expected {PAIRS_LAYOUT}"
                )
            left, right = picture[:, : width // 2], picture[:, width // 2 :]
            png = str(PurePosixPath(written).with_suffix(".png"))
            sources.add(png, encode_png(left if direction == "AB" else right))
            targets.add(png, encode_png(right if direction == "AB" else left))


def _pack(path: Path, tree: FileTree, names: Iterable[tuple[str, str]]) -> None:
    with ZipPacker(path) as packer:
        for name, written in names:
            packer.add(written, tree.read(name))


def write_unpaired(path: Path, target: Path, scratch: Path, source: str = "unpaired") -> DatasetCard:
    """Pack two domains in CycleGAN's layout: A becomes the source, B the target.

    Raises:
        DataError: if a domain has no training images.
    """
    with open_tree(path, scratch) as whole:
        tree = whole.spelt(DOMAINS).rooted_above(tuple(DOMAINS.values()))
        for packed, domain in zip(target_folders(target), "AB", strict=True):
            names = [
                (name, f"{split}/{name.removeprefix(f'{split}{domain}/').replace('/', '_')}")
                for split in ("test", "train")
                for name in tree.names
                if name.startswith(f"{split}{domain}/") and is_image_name(name)
            ]
            if not any(written.startswith("train/") for _, written in names):
                raise DataError(f"{tree.where} holds no images below train{domain}/; expected {UNPAIRED_LAYOUT}")
            _pack(packed, tree, names)
    return describe_pairs(source, target, "two domains of images", "unpaired")


HORSE2ZEBRA_COUNTS = ((("test", 120), ("train", 1_067)), (("test", 140), ("train", 1_334)))
"""Numbers of images of horses and zebras: the 1,187 and 1,474 of the publications."""


def write_horse2zebra(path: Path, target: Path, scratch: Path) -> DatasetCard:
    """Pack horse2zebra from its folder or zip.

    Raises:
        DataError: if images are missing.
    """
    card = write_unpaired(path, target, scratch, "horse2zebra")
    for side, expected in zip((SOURCE_FOLDER, TARGET_FOLDER), HORSE2ZEBRA_COUNTS, strict=True):
        check_counts(f"horse2zebra's {side}", open_raw(target / side).counts(), expected, path)
    return card


def check_counts(what: str, found: dict[str, int], expected: tuple[tuple[str, int], ...], path: Path) -> None:
    """Refuse an incomplete copy.

    Raises:
        DataError: if so; the message has both counts.
    """
    if found != dict(expected):
        raise DataError(f"{path} holds {found} images for {what}, expected {dict(expected)}; the copy is incomplete")


def describe_pairs(
    source: str, target: Path, origin: str, pairing: Literal["paired", "unpaired"] = "paired"
) -> DatasetCard:
    """Describe what was written below `target`: counts and classes are the targets'."""
    raw = open_raw(target / TARGET_FOLDER)
    return DatasetCard(source, raw.layout, raw.counts(), list(raw.classes), origin, pairing)
