"""The manifest: one row of facts for every raw image, which the data gate checks."""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganpress.basics.progress import Ticker, ticker
from ganpress.data.raw.dataset_card import IGNORED
from ganpress.data.raw.raw_images import RawImage, RawImages
from ganpress.data.raw.raw_pairs import RawPairs
from ganpress.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("path", "split", "label", "width", "height", "channels", "bytes", "md5"),
    *("mean", "std", "min", "max", "decodes"),
)
PAIR_COLUMNS = (*COLUMNS, "highest_id")
"""Columns for conditional data; paths begin with their side, `source/` or `target/`."""
PIXEL_DIGITS = 4
"""Decimals of mean and std, in grey levels of 0 to 255."""


@dataclass(frozen=True, slots=True)
class PixelFacts:
    """Facts about a decoded image."""

    width: int
    height: int
    channels: int
    md5: str
    """Digest of shape and pixels, so that equal pictures are equal in any file format."""
    mean: float
    std: float
    min: int
    max: int
    highest_id: int
    """Highest value below `IGNORED`, which is the highest class of a label map; -1 if there is none."""


def pixel_facts(pixels: NDArray[np.uint8]) -> PixelFacts:
    """Measure one decoded image (H, W, C), uint8."""
    height, width, channels = pixels.shape
    content = np.ascontiguousarray(pixels)
    md5 = hashlib.md5(f"{height}x{width}x{channels}".encode(), usedforsecurity=False)
    md5.update(content.data)
    # A histogram gives all four figures exactly, in whole numbers, in one pass.
    counts = np.bincount(content.reshape(-1), minlength=256)
    total = content.size
    mean = float(counts @ _LEVELS) / total
    variance = max(float(counts @ _SQUARES) / total - mean**2, 0.0)
    present = np.flatnonzero(counts)
    mean, std = round(mean, PIXEL_DIGITS), round(variance**0.5, PIXEL_DIGITS)
    highest_id = int(present[present < IGNORED].max(initial=-1))
    low, high = int(present[0]), int(present[-1])
    return PixelFacts(width, height, channels, md5.hexdigest(), mean, std, low, high, highest_id)


_LEVELS = np.arange(256, dtype=np.int64)
_SQUARES = _LEVELS**2


def manifest_rows(raw: RawImages, progress: Ticker | None = None) -> Iterator[tuple[object, ...]]:
    """Yield a row in the order of `COLUMNS` for each image; for an unreadable one only `decodes` is set, to False."""
    for image in raw:
        yield _row(image, raw.classes)[: len(COLUMNS)]
        if progress is not None:
            progress.advance(1)


def _row(image: RawImage, classes: tuple[str, ...], folder: str = "") -> tuple[object, ...]:
    """Return the row of one image in the order of `PAIR_COLUMNS`."""
    label = classes[image.label] if image.label >= 0 else None
    known = (folder + image.path, image.split, label)
    try:
        facts = pixel_facts(image.decode())
    except DataError:
        return (*known, None, None, None, image.size_bytes, None, None, None, None, None, False, None)
    shape = (facts.width, facts.height, facts.channels)
    levels = (facts.mean, facts.std, facts.min, facts.max)
    return (*known, *shape, image.size_bytes, facts.md5, *levels, True, facts.highest_id)


def build_manifest(raw: RawImages, csv_path: Path) -> "pd.DataFrame":
    """Write the manifest of all images to `csv_path`, row by row, and return it as a table.

    Equal images give equal bytes. Missing facts are empty fields in the file, NA in the table.
    """
    with ticker("manifest", sum(raw.counts().values()), "images") as progress, csv_path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(manifest_rows(raw, progress))
    return read_manifest(csv_path)


def typed_manifest(rows: Iterable[tuple[object, ...]]) -> "pd.DataFrame":
    """Return rows in the order of `COLUMNS` as the table that a manifest's file gives."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    text.seek(0)
    return read_manifest(text)


def build_pair_manifest(raw: RawPairs, csv_path: Path) -> "pd.DataFrame":
    """Write one manifest of both sides, `PAIR_COLUMNS`, and return it as a table with the column `side` besides."""
    total = sum(sum(side.counts().values()) for _, side in raw.sides())
    with ticker("manifest", total, "images") as progress, csv_path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(PAIR_COLUMNS)
        for name, side in raw.sides():
            for image in side:
                writer.writerow(_row(image, side.classes, f"{name}/"))
                progress.advance(1)
    manifest = read_manifest(csv_path)
    manifest["side"] = manifest["path"].str.partition("/")[0]
    return manifest


def read_manifest(csv_path: Path | io.StringIO) -> "pd.DataFrame":
    """Read a manifest back with its types: text, nullable whole numbers, floats, `decodes` as bool."""
    import pandas as pd

    whole = dict.fromkeys(("width", "height", "channels", "min", "max", "highest_id"), "Int32")
    text = dict.fromkeys(("path", "split", "label", "md5"), "str")
    types = whole | text | {"bytes": "int64", "mean": "float64", "std": "float64", "decodes": "bool"}
    # Only the empty field is missing: a class may well be called "NA" or "null".
    return pd.read_csv(csv_path, dtype=types, keep_default_na=False, na_values=[""])
