"""Similarity of pairs of images: mean absolute error, PSNR and SSIM (Wang et al. 2004), as pure functions on bytes.

All compare uint8 images (N, C, H, W) one by one and return one value an image (N,), in float64.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64

LEVELS = 255.0
WINDOW, SIGMA = 11, 1.5
"""SSIM's Gaussian window: its pixels a side and its standard deviation (Wang et al. 2004, section III-B)."""
C1, C2 = (0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2
"""SSIM's constants (K L)^2 that keep flat regions from dividing by zero (eq. 7 and 10)."""


def mean_absolute_error(images: Tensor, others: Tensor) -> Float[Float64, " n"]:
    """Return the mean |difference| of each pair, in gray levels, 0 … 255; symmetric.

    Raises:
        DataError: if the two are not uint8 images of one shape.
    """
    one, other = _as_pairs(images, others)
    return _array((one - other).abs().mean((1, 2, 3)))


def peak_signal_to_noise_ratio(images: Tensor, truth: Tensor) -> Float[Float64, " n"]:
    """Return 10 log10(255^2 / MSE) of each pair, in decibels; higher is nearer.

    Equal images count as if one value of one pixel differed by one level, the smallest difference that bytes can show,
    so that one of them does not make the mean over a set infinite.

    Raises:
        DataError: if the two are not uint8 images of one shape.
    """
    one, other = _as_pairs(images, truth)
    squared = (one - other).square().mean((1, 2, 3))
    return _array(10 * torch.log10(LEVELS**2 / squared.clamp(min=1 / one[0].numel())))


def structural_similarity(images: Tensor, truth: Tensor) -> Float[Float64, " n"]:
    """Return the mean SSIM of each pair: 1 for equal images, about 0 for unrelated (Wang et al. 2004, eq. 13).

    Means, variances and the covariance are taken in a Gaussian window wherever it fits whole into the image; colour
    channels are scored on their own and averaged.

    Raises:
        DataError: if the two are not uint8 images of one shape, or are smaller than the window.
    """
    one, other = _as_pairs(images, truth)
    if min(one.shape[2:]) < WINDOW:
        raise DataError(f"SSIM's window is {WINDOW} x {WINDOW}; the images are {one.shape[2]} x {one.shape[3]}")
    mean1, mean2, square1, square2, product = (_blurred(x) for x in (one, other, one**2, other**2, one * other))
    variance1, variance2 = square1 - mean1**2, square2 - mean2**2
    covariance = product - mean1 * mean2
    luminance = (2 * mean1 * mean2 + C1) / (mean1**2 + mean2**2 + C1)
    structure = (2 * covariance + C2) / (variance1 + variance2 + C2)
    return _array((luminance * structure).mean((1, 2, 3)))


def _blurred(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h_out w_out"]:
    """Filter each channel by the Gaussian window, along rows and then columns, without padding."""
    offsets = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = (window / window.sum()).expand(x.shape[1], 1, 1, -1)
    x = functional.conv2d(x, window, groups=x.shape[1])
    return functional.conv2d(x, window.transpose(2, 3), groups=x.shape[1])


def _as_pairs(images: Tensor, others: Tensor) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
    if images.dtype != torch.uint8 or others.dtype != torch.uint8:
        raise DataError(f"images are compared as uint8, found {images.dtype} and {others.dtype}")
    if images.shape != others.shape or images.dim() != 4:
        raise DataError(
            f"images of one shape (N, C, H, W) can be compared, found {tuple(images.shape)} and {tuple(others.shape)}; "
            "the generator does not draw images like the prepared targets"
        )
    return images.double(), others.double()


def _array(values: Float[Tensor, " n"]) -> Float[Float64, " n"]:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)
