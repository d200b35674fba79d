"""Conditional data made from plain images, offline: edge maps, label maps, domains, patches of two photographs.

The target side of `edges`, `segments` and `superres` is the unchanged base source; its source side has the same layout
and names.
"""

import shutil
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ganpress.data.raw.dataset_card import SOURCE_FOLDER, TARGET_FOLDER, DatasetCard
from ganpress.data.raw.idx import IMAGES_MAGIC, IdxHeader
from ganpress.data.raw.image_files import ZipPacker, encode_png
from ganpress.data.raw.raw_images import RawImage, RawImages, open_raw
from ganpress.data.raw.raw_pairs import pair_id
from ganpress.data.sources.file_sources import ARCHIVE_NAME
from ganpress.data.sources.pair_sources import describe_pairs, target_folders
from ganpress.errors import ConfigError, DataError

MIN_SIDE = 28
"""Size below which images are enlarged by an integer factor before edges or ink are detected, because 8x8 digits have
no clear edges but their smooth enlargement has."""
PATCH = 64
PATCH_STRIDE = 16
TEST_COLUMNS = 128
"""Number of right-hand columns of a photograph from which only test patches are taken."""
Derivation = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""(image (H, W, C), label) -> (H', W'), both uint8."""


def otsu_threshold(levels: NDArray[np.uint8]) -> int:
    """Return the grey level t that maximises the variance between {<= t} and {> t} (Otsu 1979); the least such level.

    Args:
        levels: uint8, any shape; if all are equal, that level is returned and nothing is above it.
    """
    counts = np.bincount(levels.reshape(-1), minlength=256).astype(np.float64)
    below = counts.cumsum()
    mass = (counts * np.arange(256)).cumsum()
    above = below[-1] - below
    split = (below > 0) & (above > 0)
    if not split.any():
        return int(levels.flat[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = mass / below - (mass[-1] - mass) / above
    between = np.where(split, below * above * difference**2, -1.0)
    return int(between.argmax())


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ITU-R 601 luma (H, W) of an image (H, W, C), smoothly enlarged to at least 28 pixels a side."""
    height, width, channels = image.shape
    grey = Image.fromarray(image[:, :, 0] if channels == 1 else image).convert("L")
    factor = -(-MIN_SIDE // min(height, width))
    if factor > 1:
        grey = grey.resize((width * factor, height * factor), Image.Resampling.BILINEAR)
    return np.asarray(grey, np.uint8)


def edge_map(image: NDArray[np.uint8], _label: int = -1) -> NDArray[np.uint8]:
    """Return white edges on black (H', W'): Sobel's gradient magnitude of the luma above Otsu's threshold of it."""
    grey = luma(image).astype(np.float64)
    magnitude = np.hypot(ndimage.sobel(grey, 0, mode="nearest"), ndimage.sobel(grey, 1, mode="nearest"))
    levels = np.rint(magnitude * (255 / max(float(magnitude.max()), 1.0))).astype(np.uint8)
    return np.where(levels > otsu_threshold(levels), np.uint8(255), np.uint8(0))


def ink_map(image: NDArray[np.uint8], label: int) -> NDArray[np.uint8]:
    """Return label ids (H', W'): class + 1 where the luma is above Otsu's threshold, 0 (background) elsewhere."""
    grey = luma(image)
    return np.where(grey > otsu_threshold(grey), np.uint8(label + 1), np.uint8(0))


def add_edges(target: Path, source: str) -> DatasetCard:
    """Write the edge maps of `target`/target beside it."""
    _derive(open_raw(target / TARGET_FOLDER), target / SOURCE_FOLDER, edge_map)
    return describe_pairs(source, target, "Sobel edges of the images themselves")


def add_segments(target: Path, source: str) -> DatasetCard:
    """Write label maps of the ink in `target`/target beside it.

    Raises:
        DataError: if the images have no classes, or too many for one byte.
    """
    raw = open_raw(target / TARGET_FOLDER)
    if not 1 <= len(raw.classes) <= 254:
        raise DataError(f"{source} needs labelled images of 1 to 254 classes, found {len(raw.classes)} in {raw.source}")
    _derive(raw, target / SOURCE_FOLDER, ink_map)
    card = describe_pairs(source, target, "ink of the images, above Otsu's threshold, as their class")
    names = ["background", *raw.classes]
    return DatasetCard(source, card.layout, card.counts, card.classes, card.origin, "semantic", names)


def add_copy(target: Path, source: str) -> DatasetCard:
    """Copy `target`/target as the sources: prepare shrinks them to `source_size`."""
    shutil.copytree(target / TARGET_FOLDER, target / SOURCE_FOLDER, ignore=shutil.ignore_patterns("*labels-idx1*"))
    return describe_pairs(source, target, "the images themselves; prepare shrinks the sources")


def _derive(raw: RawImages, folder: Path, derivation: Derivation) -> None:
    folder.mkdir()
    if raw.layout == "idx":
        for name, images in groupby(raw, key=lambda image: image.path.split("#")[0]):
            _write_idx(folder / name.removesuffix(".gz"), images, derivation)
        return
    with ZipPacker(folder / ARCHIVE_NAME) as packer:
        for image in raw:
            packer.add(f"{pair_id(image.path)}.png", encode_png(derivation(image.decode(), image.label)))


def _write_idx(path: Path, images: Iterator[RawImage], derivation: Derivation) -> None:
    """Stream derived images, all of one size, into an idx file; its header is written when their number is known."""
    count, shape = 0, (0, 0)
    with path.open("wb") as file:
        file.write(IdxHeader(IMAGES_MAGIC, (0, 0, 0)).to_bytes())
        for image in images:
            derived = derivation(image.decode(), image.label)
            file.write(derived.tobytes())
            count, shape = count + 1, (derived.shape[0], derived.shape[1])
        file.seek(0)
        file.write(IdxHeader(IMAGES_MAGIC, (count, *shape)).to_bytes())


def write_domains(base: Path, target: Path, source: str, wanted: tuple[str, str]) -> DatasetCard:
    """Write two sets of classes of the labelled images in `base` as two domains.

    Args:
        base: folder of a raw data set.
        target: folder in which `source/` and `target/` are created.
        source: name of the data set.
        wanted: classes of the source and of the target domain, each `name,name,…`.

    Raises:
        ConfigError: if a class is unknown, or in both domains.
    """
    raw = open_raw(base)
    domains = [_classes(raw, text, source) for text in wanted]
    if both := domains[0] & domains[1]:
        raise ConfigError(f"{source}: class '{raw.classes[min(both)]}' is in both domains; name it in one")
    first, second = target_folders(target)
    with ZipPacker(first) as sources, ZipPacker(second) as targets:
        for image in raw:
            for labels, packer in zip(domains, (sources, targets), strict=True):
                if image.label in labels:
                    packer.add(_class_path(image, raw.classes[image.label]), encode_png(image.decode()))
    return describe_pairs(source, target, f"two sets of classes of {raw.source}", "unpaired")


def _classes(raw: RawImages, text: str, source: str) -> set[int]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in raw.classes:
            known = ", ".join(raw.classes) or "none, because the images are unlabelled"
            raise ConfigError(f"{source}: class '{name}' is unknown; classes of {raw.source}: {known}")
    return {raw.classes.index(name) for name in names}


def _class_path(image: RawImage, name: str) -> str:
    split = "" if image.split == "unsplit" else f"{image.split}/"
    stem = PurePosixPath(pair_id(image.path)).name.replace("#", "-")
    return f"{split}{name.replace('/', '-')}/{stem}.png"


def write_scenes(target: Path) -> DatasetCard:
    """Cut scikit-learn's two sample photographs (427x640) into 64x64 patches: china.jpg -> flower.jpg.

    Train patches come from the left 512 columns, test patches from the right 128, in steps of 16 pixels: no pixel is
    in both.
    """
    from sklearn.datasets import load_sample_image

    for packed, name in zip(target_folders(target), ("china.jpg", "flower.jpg"), strict=True):
        photograph = load_sample_image(name)
        border = photograph.shape[1] - TEST_COLUMNS
        with ZipPacker(packed) as packer:
            for split, part in (("test", photograph[:, border:]), ("train", photograph[:, :border])):
                for top, left in _corners(part.shape[0], part.shape[1]):
                    patch = np.ascontiguousarray(part[top : top + PATCH, left : left + PATCH])
                    packer.add(f"{split}/{top:03d}_{left:03d}.png", encode_png(patch))
    return describe_pairs("scenes", target, "patches of scikit-learn's sample photographs", "unpaired")


def _corners(height: int, width: int) -> Iterator[tuple[int, int]]:
    for top in range(0, height - PATCH + 1, PATCH_STRIDE):
        for left in range(0, width - PATCH + 1, PATCH_STRIDE):
            yield top, left
