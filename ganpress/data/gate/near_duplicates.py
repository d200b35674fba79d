"""Finds pictures that are nearly equal to another one: the same picture saved again, scaled, or brightened.

A generator memorises such pictures, and if one of two is in the test split, its scores are too good. Pictures are
compared as grey thumbnails by their correlation, each with every other one. A copy that is moved or cropped by more
than a thirtieth of its width is not found.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganpress.basics.progress import Ticker
from ganpress.data.raw.raw_images import RawImage
from ganpress.errors import DataError

SIDE = 16
"""Height and width of a thumbnail in pixels."""
MOST_COMPARED = 10_000
"""Largest number of pictures that are compared with each other, which takes seconds; the time grows with its square."""
NEAR = 0.99
"""Correlation of two thumbnails from which pictures count as nearly equal.

`python -m benchmarks.near_duplicates SOURCE PATH` measures what lies on both sides. Copies saved as JPEG have at least
0.991, brightened ones 0.987, halved ones of pictures of 64 pixels and more 0.994. Not found are halved copies of 28
pixels (0.77 to 0.93) and pictures moved by a thirty-second of their width. Different pictures reach 0.99 in 0.15 % of
4,000 MNIST digits (99 % of them stay below 0.985), 0.97 % of 4,000 pictures of FashionMNIST, 0.12 % of 10,000 faces of
CelebA and 0.6 to 0.77 % of 3,670 flowers.
"""
PLAIN_LEVELS = 16.0
"""Standard deviation of a thumbnail, in grey levels of 0 to 255, below which it shows too little to be compared."""
BLOCK = 1000


@dataclass(frozen=True)
class NearDuplicates:
    """Number of pictures that are nearly equal to another one but not an exact copy."""

    share: float = 0.0
    """Share of such pictures among those that were compared."""
    crossing: float = 0.0
    """Share of pictures that are nearly equal to one of the other split."""
    example: tuple[str, ...] = ()
    """Names of two such pictures."""


def find_near_duplicates(images: Iterable[RawImage], progress: Ticker | None = None) -> NearDuplicates:
    """Compare the first `MOST_COMPARED` pictures, each with every other one; unreadable ones are left out."""
    kept: list[RawImage] = []
    thumbnails: list[NDArray[np.float32]] = []
    contents: list[bytes] = []
    for image in images:
        if len(kept) == MOST_COMPARED:
            break
        try:
            pixels = image.decode()
        except DataError:
            continue
        finally:
            if progress is not None:
                progress.advance(1)
        small = thumbnail(pixels)
        if small.std() >= PLAIN_LEVELS:
            kept.append(image)
            thumbnails.append(small)
            contents.append(hashlib.md5(pixels.tobytes(), usedforsecurity=False).digest())
    return _compared(kept, np.stack(thumbnails), np.array(contents)) if len(kept) > 1 else NearDuplicates()


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the grey levels (SIDE * SIDE,) of a small version of a picture (H, W, C)."""
    grey = Image.fromarray(pixels.mean(axis=2).round().astype(np.uint8))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).reshape(-1)


def centred(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return thumbnails (N, SIDE * SIDE) without their mean and of length 1, so that products are correlations."""
    differences: NDArray[np.float32] = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    differences /= np.linalg.norm(differences, axis=1, keepdims=True)
    return differences


def _compared(images: list[RawImage], thumbnails: NDArray[np.float32], contents: NDArray[np.bytes_]) -> NearDuplicates:
    splits = np.array([image.split for image in images])
    shown = centred(thumbnails)
    near, crossing = np.zeros(len(images), bool), np.zeros(len(images), bool)
    example: tuple[str, ...] = ()
    for start in range(0, len(images), BLOCK):
        first, second = np.nonzero(shown[start : start + BLOCK] @ shown.T >= NEAR)
        first += start
        different = (
            contents[first] != contents[second]
        )  # Exact copies are counted elsewhere, and a picture is not compared with itself.
        first, second = first[different], second[different]
        near[first] = True
        crossing[first[splits[first] != splits[second]]] = True
        if not example and len(first):
            example = (images[first[0]].path, images[second[0]].path)
    return NearDuplicates(float(near.mean()), float(crossing.mean()), example)
