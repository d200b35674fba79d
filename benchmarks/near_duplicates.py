"""Measures what the limit of near duplicates separates.

    python -m benchmarks.near_duplicates SOURCE [--path FOLDER]

Prints the similarity (correlation of thumbnails) of the most similar other picture, and that of copies that were saved
again, halved, brightened or moved. SOURCE is a source of `ganpress data add`, such as `mnist` or `folder:PICTURES`.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganpress.data.gate.near_duplicates import NEAR, PLAIN_LEVELS, centred, find_near_duplicates, thumbnail
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.sources.acquisition import import_data

Pixels = NDArray[np.uint8]
SHARES = (0.5, 0.99, 1.0)
COPIES = 200
"""Pictures of which copies are made."""


def main() -> None:
    """Take the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--path", type=Path)
    parser.add_argument("--pictures", type=int, default=4000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        import_data(given.source, given.path, Path(folder) / "data")
        raw, began = open_raw(Path(folder) / "data"), time.process_time()
        found, seconds = find_near_duplicates(islice(raw, given.pictures)), time.process_time() - began
        pictures = [one.decode() for one in islice(raw, given.pictures)]
        print(f"{len(pictures):,} pictures in {seconds:.1f} CPU s: {found.share:.2%} near duplicates")
    thumbnails = np.stack([thumbnail(one) for one in pictures])
    shown = centred(thumbnails[thumbnails.std(axis=1) >= PLAIN_LEVELS])
    likeness = shown @ shown.T
    np.fill_diagonal(likeness, -1)
    nearest = likeness.max(axis=1)
    quantiles = ", ".join(f"{np.quantile(nearest, one):.3f}" for one in SHARES)
    print(
        f"nearest other picture (median, 99 %, highest): {quantiles}; at least {NEAR}: {(nearest >= NEAR).mean():.2%}"
    )
    for name, change in CHANGES.items():
        pairs = [(centred(thumbnail(one)[None]), centred(thumbnail(change(one))[None])) for one in pictures[:COPIES]]
        alike = np.array([float((one * other).sum()) for one, other in pairs])
        print(f"{name:<22} median {np.median(alike):.3f}, least of 95 %: {np.quantile(alike, 0.05):.3f}")


def _as_jpeg(pixels: Pixels) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))).save(stream, "JPEG", quality=50)
    return np.asarray(Image.open(io.BytesIO(stream.getvalue())))


def _halved(pixels: Pixels) -> Pixels:
    picture = Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    return np.asarray(picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BILINEAR))


def _moved(pixels: Pixels) -> Pixels:
    return np.roll(pixels, max(1, pixels.shape[1] // 32), axis=1)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "saved as JPEG, quality 50": _as_jpeg,
    "halved": _halved,
    "brightened by a fifth": lambda pixels: np.asarray((pixels * 1.2 + 10).clip(0, 255), np.uint8),
    "moved by 1/32": _moved,
}

if __name__ == "__main__":
    main()
