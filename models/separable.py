"""Separable convolution of the mobile generators of GAN Compression (Li et al. 2020)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

Norm = Literal["instance", "batch"]


class SeparableConv(nn.Module):
    """Depthwise 3x3, normalisation without parameters, pointwise 1x1.

    The norm is instance normalisation, and both convolutions have biases, as published; or it is batch normalisation,
    and they have none: another one is expected to follow.

    Images become 2 - 2 padding pixels smaller.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: int = 0, norm: Norm = "instance") -> None:
        super().__init__()
        bias = norm == "instance"
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=padding, groups=in_channels, bias=bias)
        self.norm = nn.InstanceNorm2d(in_channels) if norm == "instance" else nn.BatchNorm2d(in_channels, affine=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Float[Tensor, "n c_in h w"]) -> Float[Tensor, "n c_out h_out w_out"]:
        images: Tensor = self.pointwise(self.norm(self.depthwise(x)))
        return images


def conv3x3(
    in_channels: int, out_channels: int, separable: bool, padding: int = 0, norm: Norm = "instance"
) -> nn.Module:
    """Build a 3x3 convolution, plain or separable; without bias where the norm of its network is batch norm."""
    if separable:
        return SeparableConv(in_channels, out_channels, padding, norm)
    return nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=norm == "instance")
