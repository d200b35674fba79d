"""Grids of images as PNG files."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def image_grid(images: NDArray[np.uint8], columns: int | None = None, gap: int = 2) -> NDArray[np.uint8]:
    """Lay uint8 images (N, C, H, W), C = 1 or 3, out in rows of `columns` (default: a square); returns (H', W', 3)."""
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        grid[top : top + height, left : left + width] = image.transpose(1, 2, 0)  # one channel is broadcast to three
    return grid


def save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 pixels as PNG."""
    Image.fromarray(pixels).save(path, optimize=False)
