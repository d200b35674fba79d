"""Rows of generated images as PNG: the same latents in the same columns, one row a generator."""

import io

import numpy as np
from numpy.typing import NDArray

SHOWN_PIXELS = 96
"""Images are enlarged by a whole factor up to about this height, so that a browser only ever shrinks them."""


def strip_png(images: NDArray[np.uint8]) -> bytes:
    """Draw uint8 images (n, C, H, W), C = 1 or 3, side by side with transparent gaps, as PNG bytes."""
    from PIL import Image

    count, channels, height, width = images.shape
    factor = max(1, round(SHOWN_PIXELS / height))
    gap = max(2, height * factor // 16)
    wide = width * factor
    canvas = np.zeros((height * factor, count * (wide + gap) - gap, channels + 1), np.uint8)
    for index, image in enumerate(images):
        left = index * (wide + gap)
        canvas[:, left : left + wide, :channels] = image.transpose(1, 2, 0).repeat(factor, 0).repeat(factor, 1)
        canvas[:, left : left + wide, channels] = 255
    buffer = io.BytesIO()
    Image.fromarray(canvas, "LA" if channels == 1 else "RGBA").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
