"""Brings images and label maps of any size to one size: central crop, resampling, conversion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganpress.config.data_section import Fit


@dataclass(frozen=True)
class Crop:
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def times(self, factor: int) -> "Crop":
        """Return the same part of an image that is `factor` times as large."""
        return Crop(self.top * factor, self.left * factor, self.height * factor, self.width * factor)

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut this part out of an image (H, W, C)."""
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def middle_crop(shape: tuple[int, int], proportions: tuple[int, int]) -> Crop:
    """Return the largest part of an image of `shape` (H, W), in its middle, that has the `proportions` (h, w)."""
    height, width = shape
    tall, wide = proportions
    cut_height = min(height, max(1, width * tall // wide))
    cut_width = min(width, max(1, height * wide // tall))
    return Crop((height - cut_height) // 2, (width - cut_width) // 2, cut_height, cut_width)


def kept_part(shape: tuple[int, int], result: tuple[int, int], fit: Fit) -> Crop:
    """Return the part that is kept of an image of `shape` (H, W) for a result (h, w), see `prepare.fit`."""
    if fit == "stretch":
        return Crop(0, 0, *shape)
    if fit == "cut" and shape[0] >= result[0] and shape[1] >= result[1]:
        return Crop((shape[0] - result[0]) // 2, (shape[1] - result[1]) // 2, *result)
    return middle_crop(shape, result)


def fit_image(
    pixels: NDArray[np.uint8], shape: tuple[int, int], channels: int, crop: Crop | None = None
) -> NDArray[np.uint8]:
    """Bring an image (H, W, C) to (channels, *shape), uint8, by Pillow's antialiased triangle filter (BILINEAR).

    Colour becomes grey by ITU-R 601 luma (Pillow's mode L); grey becomes colour by repetition.

    Args:
        pixels: uint8, C = 1 or 3.
        shape: height and width of the result.
        channels: 1 or 3.
        crop: what to keep; None: the largest part in the middle that has the result's proportions.
    """
    part = (crop or middle_crop((pixels.shape[0], pixels.shape[1]), shape)).of(pixels)
    image = Image.fromarray(part[:, :, 0] if part.shape[2] == 1 else part)
    if channels != part.shape[2]:
        image = image.convert("L" if channels == 1 else "RGB")
    if part.shape[:2] != shape:
        image = image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    result = np.asarray(image, np.uint8)
    return result[None] if channels == 1 else np.ascontiguousarray(result.transpose(2, 0, 1))


def fit_labels(ids: NDArray[np.uint8], shape: tuple[int, int], crop: Crop | None = None) -> NDArray[np.uint8]:
    """Bring label ids (H, W, 1) to (1, *shape), uint8: each pixel takes the id nearest to it, none is mixed."""
    part = (crop or middle_crop((ids.shape[0], ids.shape[1]), shape)).of(ids)
    image = Image.fromarray(part[:, :, 0]).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(image, np.uint8)[None]
