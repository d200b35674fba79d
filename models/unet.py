"""U-Net generator of pix2pix, at any width (Isola et al. 2017, appendix 6.1.1).

Shapes: N batch, C channels, H W size; D levels, of which level i halves the size of what it is given; c0 … c(D-1) are
base channel numbers, all equal to `ngf` in a full generator. Level i is f_i c_i channels wide, f_i = min(2^i, 8), on
the way down and again on the way up, so that the layer that leaves level i reads 2 f_i c_i channels: the skip
connection's first, then those that come from below. `unet_256` has 8 levels, `unet_128` has 7.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from models.base_channels import format_base_channels, parse_text
from models.wdcgan import initialize_weights

Norm = Literal["batch", "instance"]
FEWEST_DOWNS = 2
MOST_FACTOR = 8
"""Channels double from level to level up to this many times the base channels."""
SLOPE = 0.2
"""Slope of leaky ReLU below zero, on the way down."""
PLAIN_LEVELS = 4
"""Levels 0 … 3 leave without dropout, as does the innermost one."""


@dataclass(frozen=True)
class UnetSpec:
    """Base channels of each level, the outermost first.

    Text form: ``ngf=64`` where all are equal, else one number a level, ``16_16_32_32_32_16_16_16`` for eight.
    """

    base_channels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.base_channels) < FEWEST_DOWNS:
            raise ValueError(f"a U-Net has at least {FEWEST_DOWNS} levels, found {len(self.base_channels)}")
        if min(self.base_channels) < 1:
            raise ValueError(f"every base channel must be at least 1, found {min(self.base_channels)}")

    def __str__(self) -> str:
        return format_base_channels(self.base_channels)

    @classmethod
    def parse(cls, text: str, downs: int) -> "UnetSpec":
        """Read the text form for a generator of `downs` levels.

        Raises:
            ValueError: if the text is neither of the two forms, see `models.base_channels`.
        """
        return cls(parse_text(text, count=downs).base_channels)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(factor(level) * base for level, base in enumerate(self.base_channels))


def factor(level: int) -> int:
    """Channels of a level for each base channel."""
    return min(1 << level, MOST_FACTOR)


def check_image_size(height: int, width: int, downs: int) -> None:
    """Check that a U-Net of `downs` levels gives back images of the size that it takes.

    Raises:
        ValueError: if height or width is not a multiple of 2^downs.
    """
    step = 2**downs
    if height % step or width % step or min(height, width) < step:
        raise ValueError(
            f"a U-Net of {downs} levels takes heights and widths that are multiples of {step}, found {height}x{width}"
        )


class Down(nn.Module):
    """Halves the size: leaky ReLU but at the image, convolution, norm where there is one."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, outermost: bool, innermost: bool) -> None:
        super().__init__()
        self.outermost = outermost
        self.conv = nn.Conv2d(in_channels, out_channels, 4, 2, 1, bias=norm == "instance")
        # At the innermost level an image may be one pixel large, which an instance norm would set to zero.
        self.norm = nn.Identity() if outermost or innermost else _normalisation(norm, out_channels)

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h//2 w//2"]:
        if not self.outermost:
            x = functional.leaky_relu(x, SLOPE)
        halved: Tensor = self.norm(self.conv(x))
        return halved


class Up(nn.Module):
    """Doubles the size: ReLU, transposed convolution, norm but at the image, dropout."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, outermost: bool, dropout_rate: float) -> None:
        super().__init__()
        bias = outermost or norm == "instance"
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=bias)
        self.norm = nn.Identity() if outermost else _normalisation(norm, out_channels)
        self.dropout = nn.Dropout(dropout_rate)

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out 2*h 2*w"]:
        doubled: Tensor = self.dropout(self.norm(self.conv(torch.relu(x))))
        return doubled


class UnetGenerator(nn.Module):
    """Translates images into images in [-1, 1]; height and width are multiples of 2^D.

    `downs.i` enters level i, `ups.i` leaves it.
    """

    def __init__(self, spec: UnetSpec, in_channels: int, out_channels: int, norm: Norm, dropout_rate: float) -> None:
        super().__init__()
        if norm not in get_args(Norm):
            raise ValueError(f"a U-Net's norm must be one of {', '.join(get_args(Norm))}, found '{norm}'")
        self.spec = spec
        widths, last = spec.widths, len(spec.widths) - 1
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            outermost, innermost = level == 0, level == last
            read, left = (in_channels, out_channels) if outermost else (widths[level - 1], widths[level - 1])
            rate = dropout_rate if PLAIN_LEVELS <= level < last else 0.0
            self.downs.append(Down(read, width, norm, outermost, innermost))
            self.ups.append(Up(width if innermost else 2 * width, left, norm, outermost, rate))
        self.apply(initialize_weights)

    def forward(self, images: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h w"]:
        """Translate images.

        Raises:
            ValueError: if their height or width is not a multiple of 2^D.
        """
        check_image_size(images.shape[-2], images.shape[-1], len(self.downs))
        skips = [images]
        for down in self.downs:
            skips.append(down(skips[-1]))  # (N, f_i c_i, H / 2^(i+1), W / 2^(i+1))
        x = skips.pop()
        *outer, innermost = self.ups
        x = innermost(x)
        for up in reversed(outer):
            x = up(torch.cat([skips.pop(), x], dim=1))  # reads (N, 2 f_i c_i, H / 2^(i+1), W / 2^(i+1))
        return torch.tanh(x)


def _normalisation(norm: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.InstanceNorm2d(channels)


def unet_generator(
    spec: str,
    in_channels: int,
    out_channels: int,
    downs: int = 8,
    norm: Norm = "batch",
    dropout_rate: float = 0.0,
) -> UnetGenerator:
    """Build a generator.

    Args:
        spec: the text form of a `UnetSpec`, e.g. ``"ngf=64"``.
        in_channels: channels of the images that it takes.
        out_channels: channels of the images that it makes.
        downs: levels; 8 for images of 256 pixels, down to one pixel.
        norm: normalisation; batch in pix2pix. Instance normalisation has no parameters, convolutions then have biases.
        dropout_rate: share of values dropped in training when leaving levels 4 … D-2; pix2pix takes 0.5 as its noise.

    Raises:
        ValueError: if the spec, the norm or the rate is not allowed.
    """
    return UnetGenerator(UnetSpec.parse(spec, downs), in_channels, out_channels, norm, dropout_rate)


def unet_kept(narrow: UnetSpec, wide: UnetSpec) -> dict[str, tuple[Int64[Tensor, " _"] | None, ...]]:
    """Return the input channels of a wide generator's layers that a narrow one keeps, if they are not the first ones.

    The layer that leaves a level reads a concatenation, and keeps the first channels of both halves.

    Returns:
        for each such parameter, kept indices in each of its dimensions; None keeps the first ones. All other
        parameters and buffers keep the first ones in each dimension.

    Raises:
        ValueError: if the two have not the same levels, or the narrow one is wider somewhere.
    """
    levels = len(wide.widths)
    if len(narrow.widths) != levels:
        raise ValueError(f"U-Nets of {len(narrow.widths)} and {levels} levels have no weights in common")
    if any(few > many for few, many in zip(narrow.widths, wide.widths, strict=True)):
        raise ValueError(f"the U-Net {narrow} does not fit into {wide}")
    kept: dict[str, tuple[Tensor | None, ...]] = {}
    for level, (few, many) in enumerate(zip(narrow.widths[:-1], wide.widths[:-1], strict=True)):
        halves = torch.cat([torch.arange(few), many + torch.arange(few)])
        kept[f"ups.{level}.conv.weight"] = (halves, None, None, None)
    return kept
