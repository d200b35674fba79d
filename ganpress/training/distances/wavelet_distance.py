"""Distance in the high-frequency bands of a Haar wavelet transform (Zhang et al. 2022, "Wavelet Knowledge
Distillation: Towards Efficient Image-to-Image Translation").

Small generators lose high frequencies first. Pixel distances hardly see that, because most of an image's energy is in
low frequencies.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ganpress.training.distances.distance import Distance

LEVELS = 3
"""The most transforms, each of the low band of the one before."""


def haar_bands(
    images: Float[Tensor, "n c h w"],
) -> tuple[Float[Tensor, "n c h_half w_half"], list[Float[Tensor, "n c h_half w_half"]]]:
    """Return the low band and the three high bands (horizontal, vertical, diagonal) of an orthonormal Haar transform.

    The squares of all four sum up to those of the images. Height and width must be even.
    """
    top, bottom = images[..., ::2, :], images[..., 1::2, :]
    rows = [(top + bottom) / 2, (top - bottom) / 2]
    (low, across), (along, diagonal) = [
        [row[..., ::2] + row[..., 1::2], row[..., ::2] - row[..., 1::2]] for row in rows
    ]
    return low, [across, along, diagonal]


def wavelet_distance(made: Float[Tensor, "n c h w"], wanted: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """Mean absolute difference of the high bands, averaged over up to `LEVELS` levels."""
    low, levels = made - wanted, list[Tensor]()
    while len(levels) < LEVELS and low.shape[-1] % 2 == 0 and low.shape[-2] % 2 == 0:
        low, high = haar_bands(low)
        levels.append(torch.stack([band.abs().mean() for band in high]).mean())
    return torch.stack(levels).mean() if levels else low.sum() * 0


WAVELET = Distance("wavelet", lambda _: wavelet_distance)
