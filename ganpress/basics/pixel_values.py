"""Converts between images in [-1, 1] and the bytes of files, devices and published metrics."""

import torch
from torch import Tensor

from ganpress.errors import DataError


def images_to_uint8(images: Tensor) -> Tensor:
    """Round float images in [-1, 1], any shape, to uint8 [0, 255]; values outside are clipped.

    Inverts `uint8_to_images` exactly.

    Raises:
        DataError: if a pixel is NaN or infinite.
    """
    if not bool(torch.isfinite(images).all()):
        raise DataError("the generator produces NaN or infinite pixels; it has diverged or its weights are damaged")
    return ((images.detach() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def uint8_to_images(pixels: Tensor) -> Tensor:
    """Return uint8 [0, 255] images of any shape as float32 in [-1, 1]."""
    return pixels.to(torch.float32).div_(127.5).sub_(1.0)
