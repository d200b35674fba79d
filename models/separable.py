"""Separable convolution of the mobile generators of GAN Compression (Li et al. 2020)."""

from torch import Tensor, nn


class SeparableConv(nn.Module):
    """Depthwise 3x3, instance normalisation without parameters, pointwise 1x1; both convolutions with bias.

    (N, C_in, H, W) -> (N, C_out, H - 2 + 2 padding, W - 2 + 2 padding)
    """

    def __init__(self, in_channels: int, out_channels: int, padding: int = 0) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=padding, groups=in_channels)
        self.norm = nn.InstanceNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        images: Tensor = self.pointwise(self.norm(self.depthwise(x)))
        return images


def conv3x3(in_channels: int, out_channels: int, separable: bool, padding: int = 0) -> nn.Module:
    """Build a 3x3 convolution with bias, plain or separable."""
    if separable:
        return SeparableConv(in_channels, out_channels, padding)
    return nn.Conv2d(in_channels, out_channels, 3, padding=padding)
