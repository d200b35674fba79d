"""Variance of the Laplacian (VoL), the sharpness that distillation papers report (Aguinaldo et al. 2019, section 4)."""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.images.gray_values import Uint8, uint8_to_gray


def variance_of_laplacian(pixels: Uint8) -> Float[Float64, " n"]:
    """Return Var(K * gray(image)) of each image, K = [[0, 1, 0], [1, -4, 1], [0, 1, 0]].

    Borders are mirrored without repeating the edge (reflect-101), as cv2.Laplacian does. The value says how much fine
    structure there is, not how good it is: noise raises it far above that of real images.

    Args:
        pixels: uint8 images, H and W at least 2.

    Returns:
        values of at least 0, in squared gray levels.

    Raises:
        DataError: if the images are not uint8 with 1 or 3 channels.
    """
    if pixels.dtype != np.uint8:
        raise DataError(f"the variance of the Laplacian is defined on uint8 images, found {pixels.dtype}")
    gray = uint8_to_gray(pixels)
    if min(gray.shape[1:]) < 2:
        raise DataError(f"images must have at least 2 x 2 pixels, found {gray.shape[1]} x {gray.shape[2]}")
    variances: Float64 = ndimage.laplace(gray.astype(np.float64), mode="mirror", axes=(1, 2)).var(axis=(1, 2))
    return variances


def sharpness_ratio(student: Float64 | float, teacher: Float64 | float) -> float:
    """Return mean VoL of the student / mean VoL of the teacher, both over images of the same latents.

    A ratio of means, because a flat image in the teacher would make a mean of ratios infinite. 1 is the teacher's own
    sharpness; both above and below are departures from it.

    Raises:
        DataError: if the teacher's images are all flat.
    """
    below = float(np.mean(teacher))
    if below == 0:
        raise DataError("the teacher's images are all flat, so no sharpness ratio exists; the teacher has collapsed")
    return float(np.mean(student)) / below
