"""ResNet generator of CycleGAN and pix2pix, plain and mobile, at any width (GAN Compression, Li et al. 2020).

Shapes: N batch, C channels, H W size; c0 … c7 are base channel numbers, all equal to `ngf` in a full generator.
The trunk has nine residual blocks of 4 c2 channels at a quarter of the size. In the mobile generator the trunk's
convolutions are separable; stem, down, up and head are the sensitive layers and stay plain. Normalisation is
instance normalisation without parameters or running statistics, so that convolutions have biases.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.base_channels import check_base_channels, format_base_channels, parse_text
from models.separable import conv3x3
from models.wdcgan import initialize_weights

BLOCKS = 9
BLOCKS_PER_GROUP = 3
"""Blocks that share one base channel number for their hidden width."""
SIZE_STEP = 4
"""Two layers of stride 2: height and width must be multiples of this to come out as they went in."""


@dataclass(frozen=True)
class ResnetSpec:
    """Base channels c0 … c7: stem, down1, trunk, hidden of blocks 0-2, 3-5, 6-8, up1, up2.

    Text form: ``ngf=64`` where all are equal, else ``16_16_32_16_32_32_16_16``.
    """

    base_channels: tuple[int, ...]

    def __post_init__(self) -> None:
        check_base_channels(self.base_channels)

    def __str__(self) -> str:
        return format_base_channels(self.base_channels)

    @classmethod
    def parse(cls, text: str) -> "ResnetSpec":
        """Read the text form.

        Raises:
            ValueError: if the text is neither of the two forms, see `models.base_channels`.
        """
        return cls(parse_text(text).base_channels)

    @property
    def stem(self) -> int:
        """Channels at full size, on the way in."""
        return self.base_channels[0]

    @property
    def down1(self) -> int:
        """Channels at half the size, on the way in."""
        return 2 * self.base_channels[1]

    @property
    def trunk(self) -> int:
        """Channels at a quarter of the size, which down2 puts out and every block adds to."""
        return 4 * self.base_channels[2]

    @property
    def hidden(self) -> tuple[int, ...]:
        """Channels between the two convolutions of each block."""
        return tuple(4 * self.base_channels[3 + block // BLOCKS_PER_GROUP] for block in range(BLOCKS))

    @property
    def up1(self) -> int:
        """Channels at half the size, on the way out."""
        return 2 * self.base_channels[6]

    @property
    def up2(self) -> int:
        """Channels at full size, on the way out."""
        return self.base_channels[7]


def check_image_size(height: int, width: int) -> None:
    """Check that a ResNet generator gives back images of the size that it takes.

    Raises:
        ValueError: if height or width is not a multiple of 4, or below 8 (the trunk pads by reflection).
    """
    if height % SIZE_STEP or width % SIZE_STEP or min(height, width) < 2 * SIZE_STEP:
        raise ValueError(f"a ResNet generator takes heights and widths of 8, 12, 16, … pixels, found {height}x{width}")


class ResidualFrame(nn.Module):
    """Adds f(x) to x, where f is two 3x3 convolutions over `hidden` channels; the sum is not activated."""

    conv1: nn.Module
    dropout: nn.Module
    conv2: nn.Module

    def forward(self, x: Float[Tensor, "n t h w"]) -> Float[Tensor, "n t h w"]:
        hidden = self.dropout(torch.relu(self.conv1(x)))  # (N, hidden, h, w)
        change: Tensor = self.conv2(hidden)
        return x + change


class ResnetFrame(nn.Module):
    """Translates images into images in [-1, 1]; height and width are multiples of 4.

    What the forms of this generator share: the order of its parts. Each form makes them.
    """

    stem: nn.Module
    down1: nn.Module
    down2: nn.Module
    blocks: nn.Module
    up1: nn.Module
    up2: nn.Module
    head: nn.Module

    def forward(self, images: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h w"]:
        """Translate images.

        Raises:
            ValueError: if their height or width is not a multiple of 4, or below 8.
        """
        check_image_size(*images.shape[-2:])
        x = self.stem(images)  # (N, c0, H, W)
        x = self.down1(x)  # (N, 2 c1, H/2, W/2)
        x = self.down2(x)  # (N, 4 c2, H/4, W/4)
        x = self.blocks(x)  # (N, 4 c2, H/4, W/4)
        x = self.up1(x)  # (N, 2 c6, H/2, W/2)
        x = self.up2(x)  # (N, c7, H, W)
        return torch.tanh(self.head(x))


class ResidualBlock(ResidualFrame):
    """Pads by reflection and normalises each image for itself."""

    def __init__(self, trunk: int, hidden: int, separable: bool, dropout_rate: float) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.ReflectionPad2d(1), conv3x3(trunk, hidden, separable), nn.InstanceNorm2d(hidden))
        self.dropout = nn.Dropout(dropout_rate)
        self.conv2 = nn.Sequential(nn.ReflectionPad2d(1), conv3x3(hidden, trunk, separable), nn.InstanceNorm2d(trunk))


class ResnetGenerator(ResnetFrame):
    """The published form."""

    def __init__(
        self, spec: ResnetSpec, in_channels: int, out_channels: int, separable: bool, dropout_rate: float
    ) -> None:
        super().__init__()
        self.spec = spec
        self.stem = _normalised(nn.Conv2d(in_channels, spec.stem, 7), spec.stem, reflection=3)
        self.down1 = _normalised(nn.Conv2d(spec.stem, spec.down1, 3, 2, 1), spec.down1)
        self.down2 = _normalised(nn.Conv2d(spec.down1, spec.trunk, 3, 2, 1), spec.trunk)
        self.blocks = nn.Sequential(
            *(ResidualBlock(spec.trunk, hidden, separable, dropout_rate) for hidden in spec.hidden)
        )
        self.up1 = _normalised(nn.ConvTranspose2d(spec.trunk, spec.up1, 3, 2, 1, 1), spec.up1)
        self.up2 = _normalised(nn.ConvTranspose2d(spec.up1, spec.up2, 3, 2, 1, 1), spec.up2)
        self.head = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(spec.up2, out_channels, 7))
        self.apply(initialize_weights)


def _normalised(conv: nn.Module, channels: int, reflection: int = 0) -> nn.Sequential:
    padding = [nn.ReflectionPad2d(reflection)] if reflection else []
    return nn.Sequential(*padding, conv, nn.InstanceNorm2d(channels), nn.ReLU())


def resnet_generator(
    spec: str, in_channels: int, out_channels: int, separable: bool, dropout_rate: float = 0.0
) -> ResnetGenerator:
    """Build a generator with nine blocks.

    Args:
        spec: the text form of a `ResnetSpec`, e.g. ``"ngf=64"``.
        in_channels: channels of the images that it takes.
        out_channels: channels of the images that it makes.
        separable: whether the trunk's convolutions are separable, which makes it the mobile generator.
        dropout_rate: share of hidden values that each block drops in training; pix2pix takes 0.5 as its noise.

    Raises:
        ValueError: if the spec or the rate is not allowed.
    """
    return ResnetGenerator(ResnetSpec.parse(spec), in_channels, out_channels, separable, dropout_rate)
