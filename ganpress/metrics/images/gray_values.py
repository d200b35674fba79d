"""Gray values as published metrics see them."""

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ganpress.errors import DataError

Uint8 = NDArray[np.uint8]


def uint8_to_gray(pixels: Uint8) -> UInt8[Uint8, "n h w"]:
    """Return images (N, 1 or 3, H, W) as gray, rounded, by the luma weights of ITU-R BT.601.

    Raises:
        DataError: if there are neither 1 nor 3 channels.
    """
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise DataError(f"images must be (N, 1 or 3, H, W), found shape {pixels.shape}")
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    gray = np.tensordot(np.array([0.299, 0.587, 0.114]), pixels, axes=(0, 1))  # (N, H, W)
    return np.rint(gray).astype(np.uint8)
