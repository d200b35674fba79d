"""SPADE generator (GauGAN), label map -> image, plain and mobile, at any width.

"Semantic Image Synthesis with Spatially-Adaptive Normalization" (Park et al. 2019), sections 3 and appendix A, without
the encoder of styles: the generator starts from the label map itself; widths and mobile form as in GAN Compression
(Li et al. 2020).

Shapes: N batch, S channels of the label map, C image channels, H W size, h w size of a feature map; c0 … c7 are base
channel numbers, all equal to `ngf` in a full generator.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.base_channels import check_base_channels, format_base_channels, parse_number, parse_text
from models.separable import conv3x3
from models.wdcgan import initialize_weights

Upsampling = Literal["normal", "more"]
DOUBLINGS: dict[Upsampling, int] = {"normal": 5, "more": 6}
"""Doublings between the first feature map and the image; `more` has one between the two middle blocks."""
SLOPE = 0.2
"""Slope of leaky ReLU below zero."""


@dataclass(frozen=True)
class BlockSpec:
    """Widths of one residual block."""

    in_channels: int
    hidden: int
    out_channels: int
    modulation: int
    """Channels of the shared convolution from which gamma and beta are made."""
    learned_shortcut: bool
    """Whether the skip connection is a convolution; true of the blocks that change the width of the full generator."""


@dataclass(frozen=True)
class SpadeSpec:
    """Base channels c0 … c7 and what the generator takes.

    c0 is the trunk's, c1 … c7 those of head_0, middle_0, middle_1, up_0 … up_3.
    Text form: ``ngf=64 semantic=36 upsampling=more`` or ``32_32_48_32_32_32_32_24 semantic=36 upsampling=more``.
    """

    base_channels: tuple[int, ...]
    semantic: int = 36
    """Channels of the label map; 36 are the 35 labels of Cityscapes and its instance edges."""
    upsampling: Upsampling = "more"

    def __post_init__(self) -> None:
        check_base_channels(self.base_channels)
        if self.semantic < 1:
            raise ValueError(f"semantic must be at least 1 channel, found {self.semantic}")

    def __str__(self) -> str:
        return f"{format_base_channels(self.base_channels)} semantic={self.semantic} upsampling={self.upsampling}"

    @classmethod
    def parse(cls, text: str) -> "SpadeSpec":
        """Read the text form; `semantic` and `upsampling` may be left out.

        Raises:
            ValueError: if an option is unknown or has a wrong value, or the base channels are wrong, see
                `models.base_channels`.
        """
        parsed = parse_text(text, ("semantic", "upsampling"))
        semantic = parse_number("semantic", parsed.options.get("semantic", str(cls.semantic)))
        return cls(parsed.base_channels, semantic, _parse_upsampling(parsed.options.get("upsampling", cls.upsampling)))

    @property
    def trunk(self) -> int:
        """Channels of the first three blocks."""
        return 16 * self.base_channels[0]

    @property
    def trunk_blocks(self) -> tuple[BlockSpec, ...]:
        """head_0, middle_0, middle_1."""
        return tuple(
            BlockSpec(self.trunk, 16 * base, self.trunk, 2 * base, learned_shortcut=False)
            for base in self.base_channels[1:4]
        )

    @property
    def up_blocks(self) -> tuple[BlockSpec, ...]:
        """up_0 … up_3, each of half the width of the one before."""
        blocks: list[BlockSpec] = []
        previous = self.trunk
        for factor, base in zip((8, 4, 2, 1), self.base_channels[4:], strict=True):
            blocks.append(BlockSpec(previous, factor * base, factor * base, 2 * base, learned_shortcut=True))
            previous = factor * base
        return tuple(blocks)

    def first_size(self, height: int, width: int) -> tuple[int, int]:
        """Size of the first feature map for images of `height` x `width`.

        Raises:
            ValueError: if the image's size is not a multiple of 32 (`normal`) or 64 (`more`), or gives a single pixel,
                which normalisation would make zero.
        """
        step = 2 ** DOUBLINGS[self.upsampling]
        if height % step or width % step or height * width <= step * step:
            raise ValueError(
                f"a SPADE generator with upsampling={self.upsampling} makes images whose height and width are "
                f"multiples of {step}, above {step}x{step}; found {height}x{width}"
            )
        return height // step, width // step


def _parse_upsampling(text: str) -> Upsampling:
    for allowed in get_args(Upsampling):
        if text == allowed:
            return allowed  # type: ignore[no-any-return] # get_args knows no literals
    raise ValueError(f"upsampling must be one of {', '.join(get_args(Upsampling))}, found '{text}'")


class SpadeNorm(nn.Module):
    """Batch normalisation without parameters, scaled and shifted by maps made from the label map (equation 1)."""

    def __init__(self, channels: int, semantic: int, modulation: int, separable: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(semantic, modulation, 3, padding=1)
        self.gamma = conv3x3(modulation, channels, separable, padding=1)
        self.beta = conv3x3(modulation, channels, separable, padding=1)

    def forward(
        self, x: Float[Tensor, "n f h w"], labels: Float[Tensor, "n s h_labels w_labels"]
    ) -> Float[Tensor, "n f h w"]:
        labels = functional.interpolate(labels, size=x.shape[-2:], mode="nearest")  # (N, S, h, w)
        shared = torch.relu(self.shared(labels))  # (N, modulation, h, w)
        modulated: Tensor = self.norm(x) * (1 + self.gamma(shared)) + self.beta(shared)
        return modulated


class SpadeBlock(nn.Module):
    """Residual block of two SPADE-normalised convolutions (figure 4)."""

    def __init__(self, spec: BlockSpec, semantic: int, separable: bool) -> None:
        super().__init__()
        self.norm_0 = SpadeNorm(spec.in_channels, semantic, spec.modulation, separable)
        self.conv_0 = nn.Conv2d(spec.in_channels, spec.hidden, 3, padding=1)
        self.norm_1 = SpadeNorm(spec.hidden, semantic, spec.modulation, separable)
        self.conv_1 = nn.Conv2d(spec.hidden, spec.out_channels, 3, padding=1)
        self.norm_s: SpadeNorm | None = None
        self.conv_s: nn.Conv2d | None = None
        if spec.learned_shortcut:
            self.norm_s = SpadeNorm(spec.in_channels, semantic, spec.modulation, separable)
            self.conv_s = nn.Conv2d(spec.in_channels, spec.out_channels, 1, bias=False)

    def forward(
        self, x: Float[Tensor, "n f_in h w"], labels: Float[Tensor, "n s h_labels w_labels"]
    ) -> Float[Tensor, "n f_out h w"]:
        hidden = self.conv_0(functional.leaky_relu(self.norm_0(x, labels), SLOPE))  # (N, hidden, h, w)
        change: Tensor = self.conv_1(functional.leaky_relu(self.norm_1(hidden, labels), SLOPE))
        return self._shortcut(x, labels) + change

    def _shortcut(
        self, x: Float[Tensor, "n f_in h w"], labels: Float[Tensor, "n s h_labels w_labels"]
    ) -> Float[Tensor, "n f_out h w"]:
        if self.norm_s is None or self.conv_s is None:
            return x
        shortcut: Tensor = self.conv_s(self.norm_s(x, labels))
        return shortcut


class SpadeGenerator(nn.Module):
    """Draws images in [-1, 1] from label maps, one-hot or in [0, 1]."""

    def __init__(self, spec: SpadeSpec, channels: int, separable: bool) -> None:
        super().__init__()
        self.spec = spec
        self.fc = nn.Conv2d(spec.semantic, spec.trunk, 3, padding=1)
        head, *middle = (SpadeBlock(block, spec.semantic, separable) for block in spec.trunk_blocks)
        self.head_0 = head
        self.middle_0, self.middle_1 = middle
        ups = (SpadeBlock(block, spec.semantic, separable) for block in spec.up_blocks)
        self.up_0, self.up_1, self.up_2, self.up_3 = ups
        self.head = nn.Conv2d(spec.up_blocks[-1].out_channels, channels, 3, padding=1)
        self.apply(initialize_weights)

    def forward(self, labels: Float[Tensor, "n s h w"]) -> Float[Tensor, "n c h w"]:
        """Draw the images that the label maps describe.

        Raises:
            ValueError: if the label maps' size is not one that this generator makes, see `SpadeSpec.first_size`.
        """
        size = self.spec.first_size(*labels.shape[-2:])
        x = self.fc(functional.interpolate(labels, size=size, mode="nearest"))  # (N, 16 c0, H/64, W/64)
        for block, doubles in self._blocks():
            x = block(x, labels)  # (N, 16 c0, …) three times, then (N, 8 c4, …) … (N, c7, H, W)
            if doubles:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return torch.tanh(self.head(functional.leaky_relu(x, SLOPE)))

    def _blocks(self) -> Iterator[tuple[SpadeBlock, bool]]:
        """Each block, and whether the size doubles after it."""
        yield self.head_0, True
        yield self.middle_0, self.spec.upsampling == "more"
        yield from ((block, True) for block in (self.middle_1, self.up_0, self.up_1, self.up_2))
        yield self.up_3, False


def spade_generator(spec: str, channels: int, separable: bool) -> SpadeGenerator:
    """Build a generator of images with `channels` channels.

    Args:
        spec: the text form of a `SpadeSpec`, e.g. ``"ngf=64 semantic=36 upsampling=more"``.
        channels: channels of the images that it makes.
        separable: whether gamma and beta come from separable convolutions, which makes it the mobile generator.

    Raises:
        ValueError: if the spec is not allowed.
    """
    return SpadeGenerator(SpadeSpec.parse(spec), channels, separable)
