"""ResNet generator in a form that runtimes run fast: batch norm, zero padding, sub-pixel upsampling; any width.

Nine blocks, widths and text form are those of `models.resnet` (Johnson et al. 2016; GAN Compression, Li et al. 2020).
Three things differ, because runtimes hardly run them in integers, or not at all:

* Batch normalisation takes the place of instance normalisation and folds into the convolution before it.
* Zeros take the place of reflections, and padding becomes a number of the convolution.
* Upsampling is a 2x2 convolution to four times the channels and their rearrangement (Shi et al. 2016, ESPCN). A
  transposed convolution of kernel 3 and stride 2 is such a convolution with 7 of its 16 taps zero, so nothing is lost.

Shapes: N batch, C channels, H W size; c0 … c7 are base channel numbers, see `models.resnet.ResnetSpec`.
"""

from torch import nn

from models.resnet import ResidualFrame, ResnetFrame, ResnetSpec
from models.separable import conv3x3
from models.wdcgan import initialize_weights

UPSAMPLING = 2


class EdgeResidualBlock(ResidualFrame):
    """Pads by zeros and normalises over the batch."""

    def __init__(self, trunk: int, hidden: int, separable: bool, dropout_rate: float) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_conv3x3(trunk, hidden, separable), nn.BatchNorm2d(hidden))
        self.dropout = nn.Dropout(dropout_rate)
        self.conv2 = nn.Sequential(_conv3x3(hidden, trunk, separable), nn.BatchNorm2d(trunk))


class EdgeResnetGenerator(ResnetFrame):
    """The edge form."""

    def __init__(
        self, spec: ResnetSpec, in_channels: int, out_channels: int, separable: bool, dropout_rate: float
    ) -> None:
        super().__init__()
        self.spec = spec
        self.stem = _normalised(nn.Conv2d(in_channels, spec.stem, 7, padding=3, bias=False))
        self.down1 = _normalised(nn.Conv2d(spec.stem, spec.down1, 3, 2, 1, bias=False))
        self.down2 = _normalised(nn.Conv2d(spec.down1, spec.trunk, 3, 2, 1, bias=False))
        self.blocks = nn.Sequential(
            *(EdgeResidualBlock(spec.trunk, hidden, separable, dropout_rate) for hidden in spec.hidden)
        )
        self.up1 = _doubling(spec.trunk, spec.up1)
        self.up2 = _doubling(spec.up1, spec.up2)
        self.head = nn.Conv2d(spec.up2, out_channels, 7, padding=3)
        self.apply(initialize_weights)


def _conv3x3(in_channels: int, out_channels: int, separable: bool) -> nn.Module:
    """A 3x3 convolution without bias, which the normalisation behind it would take away."""
    return conv3x3(in_channels, out_channels, separable, padding=1, norm="batch")


def _normalised(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


def _doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    """(N, I, h, w) -> (N, O, 2 h, 2 w).

    Norm and ReLU come before the rearrangement, so that they fold into the convolution and only codes are moved after
    it. `same` pads 0 before and 1 after, as a transposed convolution of kernel 3, padding 1, output padding 1 reads.
    """
    conv = nn.Conv2d(in_channels, UPSAMPLING**2 * out_channels, UPSAMPLING, padding="same", bias=False)
    return _normalised(conv).append(nn.PixelShuffle(UPSAMPLING))


def edge_resnet_generator(
    spec: str, in_channels: int, out_channels: int, separable: bool, dropout_rate: float = 0.0
) -> EdgeResnetGenerator:
    """Build a generator with nine blocks, see `models.resnet.resnet_generator` for the arguments.

    Raises:
        ValueError: if the spec or the rate is not allowed.
    """
    return EdgeResnetGenerator(ResnetSpec.parse(spec), in_channels, out_channels, separable, dropout_rate)
