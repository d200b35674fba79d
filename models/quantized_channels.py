"""Quantization of a layer's output and input with a scale for each channel.

Shapes: N batch, I and O channels of input and output.
"""

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn


class ChannelQuantizer(nn.Module):
    """Affine codes 0 … 2^bits - 1 with a scale and a zero point for each channel."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, bits: int, channels: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("zero_point", torch.zeros(channels, dtype=torch.uint8))

    @property
    def highest_code(self) -> int:
        return int(2**self.bits - 1)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest real that a code of any channel stands for."""
        zero_point = self.zero_point.float()
        low, high = -zero_point * self.scale, (self.highest_code - zero_point) * self.scale
        return float(low.min()), float(high.max())

    def decode(self, codes: Real[Tensor, "*n o h w"]) -> Float[Tensor, "*n o h w"]:
        """Codes -> reals."""
        return (codes - self.zero_point[:, None, None]) * self.scale[:, None, None]


class InputQuantizer(nn.Module):
    """Affine codes 0 … 2^bits - 1 of a layer's input, with a scale, a zero point and an offset for each channel.

    real = offset + scale * (code - zero_point). The kernel gets `kernel_zero` for all channels; the difference is part
    of the layer's bias, which is exact unless the layer pads with zeros. If it does, all zero points are `kernel_zero`
    and all offsets zero. An offset aligns the codes with the values: the 256 values of a picture are odd multiples of 1
    / 255, which codes that include zero cannot represent exactly.
    """

    scale: Tensor
    zero_point: Tensor
    offset: Tensor
    kernel_zero: Tensor

    def __init__(self, bits: int, channels: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("zero_point", torch.zeros(channels, dtype=torch.uint8))
        self.register_buffer("offset", torch.zeros(channels))
        self.register_buffer("kernel_zero", torch.zeros((), dtype=torch.uint8))
        self.shifted = False
        """Whether there is an offset, by the last loaded state, because values are not known while a graph is
        traced.
        """
        self.register_load_state_dict_post_hook(_note_offset)  # type: ignore[no-untyped-call]

    @property
    def highest_code(self) -> int:
        return int(2**self.bits - 1)

    @property
    def kernel_scale(self) -> Float[Tensor, ""]:
        """Scale passed to the kernel; the real scales are part of the weights."""
        return torch.ones(())

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest real that a code of any channel stands for."""
        zero_point = self.zero_point.float()
        low = self.offset - zero_point * self.scale
        return float(low.min()), float((low + self.highest_code * self.scale).max())

    @property
    def shift(self) -> Float[Tensor, " i"]:
        """The real of `kernel_zero` in each channel."""
        return self.offset + self.scale * (self.kernel_zero.float() - self.zero_point)

    def encode(self, real: Float[Tensor, "n i h w"]) -> Float[Tensor, "n i h w"]:
        """Convert reals to codes, as whole numbers in float32."""
        steps = torch.round((real - self.offset[:, None, None]) / self.scale[:, None, None])
        return (steps + self.zero_point[:, None, None]).clamp(0, self.highest_code)

    def decode(self, codes: Real[Tensor, "n i h w"]) -> Float[Tensor, "n i h w"]:
        """Codes -> reals."""
        steps = codes - self.zero_point[:, None, None]
        return self.offset[:, None, None] + steps * self.scale[:, None, None]


def _note_offset(quantizer: InputQuantizer, _: object) -> None:
    quantizer.shifted = bool(quantizer.offset.any())
