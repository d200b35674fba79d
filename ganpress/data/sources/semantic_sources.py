"""Sources of label maps with their images: Cityscapes, and a user's own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ganpress.data.raw.dataset_card import IGNORED, DatasetCard
from ganpress.data.raw.file_tree import FileTree, open_tree
from ganpress.data.raw.image_files import ZipPacker, encode_png, is_image_name, opened_picture
from ganpress.data.raw.raw_images import SPLIT_FOLDERS
from ganpress.data.sources.folder_layout import SPLIT_WORDS
from ganpress.data.sources.pair_sources import check_counts, describe_pairs, target_folders
from ganpress.errors import DataError

FOLDERS = {**SPLIT_WORDS, "images": "images", "labels": "labels"}
"""Folders of a user's label maps, in small letters, and what they are called here."""
SEMANTIC_LAYOUT = (
    "images/ and labels/ with files of equal names, each below train/, val/, test/ or above them, and classes.txt with "
    "one class name a line"
)
CITYSCAPES_COUNTS = (("test", 500), ("train", 2_975))
"""Cityscapes' own test split has no public labels: `val` is what everybody tests on."""
CITYSCAPES_NAMES = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle", "license plate"),
)
"""Label ids 0 to 33 of Cordts et al. 2016, and their -1 (stored as 255), which GauGAN reads as a 35th class."""


@dataclass(frozen=True)
class LabelledImage:
    """Paths of a label map and its image, and their common name in the data set."""

    labels: str
    image: str
    name: str
    """`<split>/<stem>`, or `<stem>`."""


def write_cityscapes(path: Path, target: Path, scratch: Path) -> DatasetCard:
    """Pack Cityscapes' fine annotations from `leftImg8bit/` and `gtFine/` below `path`.

    Raises:
        DataError: if images or label maps are missing or can't be read.
    """
    with open_tree(path, scratch) as whole:
        tree = whole.rooted_above(("leftImg8bit", "gtFine"))
        found = sorted(_cityscapes_items(tree), key=lambda item: item.name)
        if not found:
            raise DataError(
                f"{path} holds no leftImg8bit/{{train,val}}/<city>/*_leftImg8bit.png with "
                "gtFine/{train,val}/<city>/*_gtFine_labelIds.png"
            )
        _write(tree, found, target, unknown=len(CITYSCAPES_NAMES) - 1)
    card = _describe("cityscapes", target, "Cityscapes, Cordts et al. 2016", list(CITYSCAPES_NAMES))
    check_counts("cityscapes", card.counts, CITYSCAPES_COUNTS, path)
    return card


def _cityscapes_items(tree: FileTree) -> Iterator[LabelledImage]:
    present = set(tree.names)
    for name in tree.names:
        parts = PurePosixPath(name).parts
        if len(parts) == 4 and parts[0] == "leftImg8bit" and parts[1] in ("train", "val"):
            stem = parts[3].removesuffix("_leftImg8bit.png")
            labels = f"gtFine/{parts[1]}/{parts[2]}/{stem}_gtFine_labelIds.png"
            if labels not in present:
                raise DataError(f"{tree.where} lacks {labels}, the label map of {name}; unpack gtFine_trainvaltest.zip")
            yield LabelledImage(labels, name, f"{'test' if parts[1] == 'val' else 'train'}/{stem}")


def write_semantic(path: Path, target: Path, scratch: Path) -> DatasetCard:
    """Pack a user's images and label maps (one channel or a palette: the values are the label ids, 255 is ignored).

    The classes are the lines of `classes.txt`; without it, ids 0 to the highest one found.

    Raises:
        DataError: if there are none, a label map has no image or the other way round, or can't be read.
    """
    with open_tree(path, scratch) as whole:
        tree = whole.spelt(FOLDERS).rooted_above((*SPLIT_FOLDERS, "images", "labels"))
        highest = _write(tree, _semantic_items(tree), target)
        names = _class_names(tree, highest)
    return _describe("semantic", target, "label maps and images", names)


def _semantic_items(tree: FileTree) -> list[LabelledImage]:
    images, labels = _by_stem(tree, "images"), _by_stem(tree, "labels")
    if not images or not labels:
        raise DataError(f"{tree.where} holds no {'images' if not images else 'labels'}/; expected {SEMANTIC_LAYOUT}")
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        lacking = "label map" if alone[0] in images else "image"
        raise DataError(
            f"{tree.where}: {len(alone)} of {len(images.keys() | labels.keys())} lack one of the two, first {alone[0]} "
            f"(no {lacking}); give both the same name"
        )
    return [LabelledImage(labels[name], images[name], name) for name in sorted(images)]


def _by_stem(tree: FileTree, kind: str) -> dict[str, str]:
    """Return {`<split>/<stem>` or `<stem>`: path} of the images below every folder `kind`."""
    found = {}
    for name in tree.names:
        parts = PurePosixPath(name).parts
        if kind in parts[:2] and is_image_name(name):
            rest = [part for part in parts[:-1] if part != kind]
            split, below = (rest[:1], rest[1:]) if rest and rest[0] in SPLIT_FOLDERS else ([], rest)
            found["/".join([*split, "_".join([*below, PurePosixPath(name).stem])])] = name
    return found


def _class_names(tree: FileTree, highest: int) -> list[str]:
    if "classes.txt" not in tree.names:
        return [f"class {number}" for number in range(highest + 1)]
    lines = [line.strip() for line in tree.read("classes.txt").decode("utf-8", "replace").splitlines()]
    names = [line for line in lines if line]
    if not 1 <= len(names) <= IGNORED:
        raise DataError(f"{tree.where}/classes.txt names {len(names)} classes; expected 1 to {IGNORED}, one a line")
    return names


def _write(tree: FileTree, items: Iterable[LabelledImage], target: Path, unknown: int = IGNORED) -> int:
    """Write label maps and images, 255 becoming `unknown`; return the highest label id, -1 where all is ignored."""
    first, second = target_folders(target)
    highest = -1
    with ZipPacker(first) as sources, ZipPacker(second) as targets:
        for item in items:
            ids = decode_label_map(tree.read(item.labels), item.labels)
            ids = np.where(ids == IGNORED, np.uint8(unknown), ids)
            highest = max(highest, int(ids[ids != IGNORED].max(initial=0)))
            sources.add(f"{item.name}.png", encode_png(ids))
            targets.add(f"{item.name}{PurePosixPath(item.image).suffix}", tree.read(item.image))
    return highest


def decode_label_map(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a label map into its ids (H, W), uint8; a palette picture's ids are its indices.

    Raises:
        DataError: if it can't be read, is coloured (its ids can't be known), or has ids above 255.
    """
    with opened_picture(content, name) as opened:
        values = np.asarray(opened if opened.mode in ("L", "P", "1") or "I" in opened.mode else opened.convert("RGB"))
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            raise DataError(f"{name} is a coloured picture; expected a label map of one channel with ids 0 to 254")
        values = values[:, :, 0]
    if int(values.max(initial=0)) > IGNORED or int(values.min(initial=0)) < 0:
        raise DataError(
            f"{name} has label ids {values.min()} to {values.max()}; allowed are 0 to 254, and 255: ignored"
        )
    return values.astype(np.uint8)


def _describe(source: str, target: Path, origin: str, names: list[str]) -> DatasetCard:
    card = describe_pairs(source, target, origin)
    return DatasetCard(source, card.layout, card.counts, card.classes, origin, "semantic", names)
