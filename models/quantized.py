"""Quantization of a tensor with one scale, and the record of its calibration.

Codes are integers, reals the numbers that they represent. An activation is real = scale * (code - zero_point), per
tensor; a weight is real = scale * code, per output channel, codes stored as int8. A layer with both quantized
multiplies and adds integers and rounds once, half to even, as QLinearConv of the ONNX standard does.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Real, UInt8
from torch import Tensor, nn

FLOAT32_EXACT = 2**24
"""Largest integer up to which all integers are exact in float32."""


@dataclass(frozen=True)
class CalibrationRecord:
    """The latents on which the activation ranges were measured."""

    count: int
    sha256: str
    """Digest of the latents' float32 bytes."""
    seed: int | None = None
    """Seed that drew them, if known."""


class ActivationQuantizer(nn.Module):
    """Affine rounding of one tensor to codes 0 … 2^bits - 1."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.uint8))

    @property
    def highest_code(self) -> int:
        return int(2**self.bits - 1)

    @property
    def range(self) -> tuple[float, float]:
        """The reals of the smallest and the largest code."""
        zero_point, scale = int(self.zero_point), float(self.scale)
        return -zero_point * scale, (self.highest_code - zero_point) * scale

    @property
    def kernel_scale(self) -> Float[Tensor, ""]:
        """Scale passed to the integer kernel."""
        return self.scale

    @property
    def kernel_zero(self) -> UInt8[Tensor, ""]:
        """Zero point passed to the integer kernel."""
        return self.zero_point

    def encode(self, real: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Convert reals to codes, as whole numbers in float32."""
        return self.clamp(torch.round(real / self.scale))

    def clamp(self, steps: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Convert whole steps from zero to codes."""
        return (steps + self.zero_point).clamp(0, self.highest_code)

    def decode(self, codes: Real[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Convert codes to reals."""
        return (codes - self.zero_point) * self.scale
