"""Between images in [-1, 1] and the bytes that a file, a phone and every published metric see."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.errors import DataError

Uint8 = NDArray[np.uint8]


def images_to_uint8(images: Tensor) -> Tensor:
    """Round float images in [-1, 1] to uint8 [0, 255] of the same shape; values outside are clipped.

    Raises:
        DataError: if a pixel is NaN or infinite.
    """
    if not bool(torch.isfinite(images).all()):
        raise DataError("the generator makes NaN or infinite pixels; it has diverged or its weights are damaged")
    return ((images.detach() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def uint8_to_images(pixels: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]."""
    return pixels.to(torch.float32) / 127.5 - 1.0


def uint8_to_gray(pixels: Uint8) -> Uint8:
    """Return (N, C, H, W) as gray (N, H, W), rounded, by the luma weights of ITU-R BT.601.

    Raises:
        DataError: if there are neither 1 nor 3 channels.
    """
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise DataError(f"images must be (N, 1 or 3, H, W), found shape {pixels.shape}")
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    gray = np.tensordot(np.array([0.299, 0.587, 0.114]), pixels, axes=(0, 1))  # (N, H, W)
    return np.rint(gray).astype(np.uint8)
