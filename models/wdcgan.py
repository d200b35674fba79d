"""W-DCGAN, the generator family of "Compressing GANs using Knowledge Distillation" (Aguinaldo et al. 2019, section 3).

Shapes: N batch, C channels, H W size, Z latent; d is the depth scale factor. A generator for images of 4 * 2^L pixels
has L doublings: the first layer puts out 2^(L-1) d channels at 4x4, each next one halves the channels and doubles the
size, the last puts out the image. For 64x64 that is 100 -> 8d -> 4d -> 2d -> d -> C with 672 d^2 + 12831 d + 1
parameters for one channel.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.family import LATENT


@dataclass(frozen=True)
class WdcganSpec:
    """Depth scale factor of each level, first level first; the value that names a (sub-)generator.

    Text form: ``16`` where all levels are equal, else ``16_8_16_4``.
    """

    depths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.depths or min(self.depths) < 1:
            raise ValueError(f"every depth scale factor must be at least 1, found {self}")

    def __str__(self) -> str:
        return str(self.depths[0]) if len(set(self.depths)) == 1 else "_".join(map(str, self.depths))

    @classmethod
    def parse(cls, text: str, levels: int) -> "WdcganSpec":
        """Read the text form for a generator with `levels` hidden levels.

        Raises:
            ValueError: if the text is not numbers joined by `_`, or their count is neither 1 nor `levels`.
        """
        try:
            depths = tuple(int(part) for part in text.split("_"))
        except ValueError:
            raise ValueError(f"spec '{text}' is not whole numbers joined by '_', e.g. '16' or '16_8_16_4'") from None
        if len(depths) == 1:
            depths *= levels
        if len(depths) != levels:
            raise ValueError(f"spec '{text}' has {len(depths)} depths; this generator takes 1 or {levels}")
        return cls(depths)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each hidden level."""
        levels = len(self.depths)
        return tuple(depth * 2 ** (levels - 1 - level) for level, depth in enumerate(self.depths))


def hidden_levels(size: int) -> int:
    """Return the number of hidden levels of a generator for `size` x `size` images.

    Raises:
        ValueError: if `size` is not 4 times a power of two, at least 8.
    """
    levels = (size // 4).bit_length() - 1
    if levels < 1 or 4 * 2**levels != size:
        raise ValueError(f"W-DCGAN makes images of 8, 16, 32, 64, … pixels, found {size}")
    return levels


class UpBlock(nn.Module):
    """Transposed convolution, normalisation without affine parameters, bias, ReLU.

    The bias is the convolution's own, added after the normalisation, which would cancel it before. Folding the
    normalisation gives back a plain biased transposed convolution of the same parameter count.
    """

    def __init__(self, in_channels: int, out_channels: int, first: bool) -> None:
        super().__init__()
        stride, padding = (1, 0) if first else (2, 1)
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, affine=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Float[Tensor, "n c_in h_in w_in"]) -> Float[Tensor, "n c_out h w"]:
        return functional.relu(self.norm(self.conv(x)) + self.bias[:, None, None])


class WdcganGenerator(nn.Module):
    """Draws images in [-1, 1] from latents."""

    def __init__(self, spec: WdcganSpec, channels: int, latent: int = LATENT) -> None:
        super().__init__()
        self.latent = latent
        widths = (latent, *spec.widths)
        self.blocks = nn.ModuleList(
            UpBlock(wide, narrow, first=level == 0) for level, (wide, narrow) in enumerate(pairwise(widths))
        )
        self.head = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1)
        self.apply(initialize_weights)

    def forward(self, z: Float[Tensor, "n z"]) -> Float[Tensor, "n c h w"]:
        x = z[:, :, None, None]  # (N, Z, 1, 1)
        for block in self.blocks:
            x = block(x)  # (N, 2^(L-1) d, 4, 4) … (N, d, H/2, W/2)
        return torch.tanh(self.head(x))


class WdcganDiscriminator(nn.Module):
    """Mirror of the generator: gives each image a logit or a critic's value."""

    def __init__(self, depth: int, channels: int, size: int, normalise: bool) -> None:
        super().__init__()
        widths = [channels, *(depth * 2**level for level in range(hidden_levels(size)))]
        layers: list[nn.Module] = []
        for level, (narrow, wide) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(narrow, wide, 4, 2, 1))
            if level > 0 and normalise:
                layers.append(nn.BatchNorm2d(wide))
            layers.append(nn.LeakyReLU(0.2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], 1, 4)
        self.apply(initialize_weights)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        values: Tensor = self.head(self.features(images))  # (N, 1, 1, 1)
        return values.flatten()


def initialize_weights(module: nn.Module) -> None:
    """DCGAN initialisation: convolutions from N(0, 0.02^2), biases zero (Radford et al. 2016)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def wdcgan_generator(spec: str, size: int, channels: int, latent: int = LATENT) -> WdcganGenerator:
    """Build a generator; `spec` is the text form of a `WdcganSpec`, e.g. ``"16"``."""
    return WdcganGenerator(WdcganSpec.parse(spec, hidden_levels(size)), channels, latent)


def wdcgan_discriminator(depth: int, size: int, channels: int, normalise: bool) -> WdcganDiscriminator:
    """Build a discriminator or critic; the gradient penalty wants `normalise=False`."""
    return WdcganDiscriminator(depth, channels, size, normalise)
