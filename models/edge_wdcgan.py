"""W-DCGAN as deployed: batch normalisation folded away, transposed convolutions as sub-pixel convolutions.

Both modules compute what the trained `models.wdcgan.WdcganGenerator` computes in eval mode, up to float rounding;
`ganpress.structure.surgery` converts weights. A sub-pixel layer is a plain convolution to r * r times the channels,
whose result is rearranged to r times the size. Unlike a transposed convolution it has integer kernels in every runtime.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.wdcgan import WdcganGenerator, WdcganSpec


class DeployedWdcgan(nn.Module):
    """What every deployable form of a W-DCGAN generator knows about its architecture."""

    def __init__(self, latent: int, widths: list[int], channels: int) -> None:
        super().__init__()
        self.latent, self.widths, self.channels = latent, list(widths), channels

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return int(4 * 2 ** len(self.widths))

    def trained_form(self) -> WdcganGenerator:
        """The architecture that was trained, with fresh weights: what parameters and MACs are counted on."""
        levels = len(self.widths)
        depths = (width // 2 ** (levels - 1 - level) for level, width in enumerate(self.widths))
        return WdcganGenerator(WdcganSpec(tuple(depths)), self.channels)


class FoldedWdcgan(DeployedWdcgan):
    """z (N, Z) -> images (N, C, H, W) in [-1, 1]; biased transposed convolutions and ReLU only."""

    def __init__(self, latent: int, widths: list[int], channels: int) -> None:
        super().__init__(latent, widths, channels)
        first, *doublings = pairwise([latent, *widths, channels])
        self.convs = nn.ModuleList([nn.ConvTranspose2d(*first, 4, 1, 0)])
        self.convs.extend(nn.ConvTranspose2d(wide, narrow, 4, 2, 1) for wide, narrow in doublings)

    def forward(self, z: Tensor) -> Tensor:
        *hidden, head = self.convs
        x = z[:, :, None, None]  # (N, Z, 1, 1)
        for conv in hidden:
            x = functional.relu(conv(x))  # (N, widths[0], 4, 4) … (N, widths[-1], H/2, W/2)
        return torch.tanh(head(x))  # (N, C, H, W)


@dataclass(frozen=True)
class SubpixelGeometry:
    """Shape of a sub-pixel layer: kernel and padding of its convolution, then r times the size, then a crop."""

    kernel: int
    padding: int
    factor: int
    """r: the convolution puts out r * r channels for each one of the result."""
    crop: int
    """Pixels cut off each border after the rearrangement."""

    def rearrange(self, x: Tensor) -> Tensor:
        """(N, r r C, H, W) -> (N, C, r H - 2 crop, r W - 2 crop); channel (c r + y) r + x becomes pixel (y, x)."""
        x = functional.pixel_shuffle(x, self.factor)
        return x[:, :, self.crop : x.shape[2] - self.crop, self.crop : x.shape[3] - self.crop]


PROJECTION = SubpixelGeometry(kernel=1, padding=0, factor=4, crop=0)
"""The first layer: one pixel becomes 4 x 4."""
DOUBLING = SubpixelGeometry(kernel=2, padding=1, factor=2, crop=1)
"""Every later layer, equal to a transposed convolution with kernel 4, stride 2, padding 1."""


class EdgeWdcgan(DeployedWdcgan):
    """z (N, Z) -> images (N, C, H, W) in [-1, 1]; convolution, ReLU, rearrangement, repeated.

    The ReLU comes before the rearrangement, with which it commutes: runtimes fuse it into the convolution there, and
    some quantizers lose a ReLU that comes after.
    """

    def __init__(self, latent: int, widths: list[int], channels: int) -> None:
        super().__init__(latent, widths, channels)
        self.convs = nn.ModuleList()
        for geometry, (wide, narrow) in zip(self.geometries, pairwise([latent, *widths, channels]), strict=True):
            outputs = narrow * geometry.factor**2
            self.convs.append(nn.Conv2d(wide, outputs, geometry.kernel, padding=geometry.padding))

    @property
    def geometries(self) -> tuple[SubpixelGeometry, ...]:
        """One for each layer, the head last."""
        return (PROJECTION, *(DOUBLING for _ in self.widths))

    def forward(self, z: Tensor) -> Tensor:
        *_, last = self.activations(z)
        return torch.tanh(self.geometries[-1].rearrange(last))  # (N, C, H, W)

    def activations(self, z: Tensor) -> Iterator[Tensor]:
        """Run and yield what a quantizer would round: the latents, each ReLU's output, the head before tanh.

        Yields:
            (N, Z, 1, 1), then (N, r r C, H, W) of each layer, before its rearrangement.
        """
        x = z[:, :, None, None]
        yield x
        for level, (conv, geometry) in enumerate(zip(self.convs, self.geometries, strict=True)):
            x = conv(x)
            if level < len(self.widths):
                x = functional.relu(x)
            yield x
            x = geometry.rearrange(x)


def folded_wdcgan(latent: int, widths: list[int], channels: int) -> FoldedWdcgan:
    """Build a folded generator; `widths` are the channels of each hidden level."""
    return FoldedWdcgan(latent, widths, channels)


def edge_wdcgan(latent: int, widths: list[int], channels: int) -> EdgeWdcgan:
    """Build a sub-pixel generator; `widths` are the channels of each hidden level."""
    return EdgeWdcgan(latent, widths, channels)
