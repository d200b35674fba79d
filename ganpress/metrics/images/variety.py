"""Measures the variety of the pictures of one batch, in order to detect a generator's collapse during training."""

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray


def variety_ratio(made: UInt8[NDArray[np.uint8], "n c h w"], real: UInt8[NDArray[np.uint8], "n c h w"]) -> float:
    """Return how far made pictures lie apart, relative to real ones: 0 for equal pictures, about 1 for varied ones.

    The median distance of a picture to the nearest other one is compared, in pixels. It is small when all pictures are
    alike and also when they are copies of a few.

    Args:
        made: uint8 images, N at least 2.
        real: as many real images of the same shape.
    """
    return nearest_distance(made) / max(nearest_distance(real), 1e-9)


def nearest_distance(images: UInt8[NDArray[np.uint8], "n c h w"]) -> float:
    """Return the median Euclidean distance of an image to the nearest other one, in grey levels."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    squares = (flat**2).sum(axis=1)
    distances = squares[:, None] + squares[None] - 2 * flat @ flat.T
    np.fill_diagonal(distances, np.inf)
    return float(np.median(np.sqrt(np.maximum(distances.min(axis=1), 0))))
