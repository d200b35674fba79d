"""Bit widths, and weights as codes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ganpress.errors import ConfigError

BITS = range(2, 9)
Clipping = Literal["none", "mse"]


@dataclass(frozen=True)
class QuantizationConfig:
    """Bit widths; None leaves floats. Runtimes have integer kernels where both are set.

    On x86 processors without VNNI instructions 8-bit weights can overflow the 16-bit sums of the runtime's kernels; the
    verification of the export catches that, and `weight_bits=7` avoids it.
    """

    weight_bits: int | None
    """Symmetric, per output channel."""
    activation_bits: int | None
    """Asymmetric, range from calibration."""
    clipping: Clipping = "mse"
    """Of activation ranges: `mse` minimises the rounding and clipping error, `none` keeps smallest and largest value.
    W-DCGAN generators, whose codes pass from layer to layer, always keep theirs.
    """

    max_crest: float = 24.0
    """Layers before an instance normalisation whose output's range is wider, in standard deviations, stay in floats: at
    24, 8 bits leave 31 dB. Outliers at the border of transposed convolutions reach 70.
    """

    def __post_init__(self) -> None:
        if not self.max_crest > 0:
            raise ConfigError(f"max_crest is a number of standard deviations above 0, found {self.max_crest}")
        for name, bits in (("weight_bits", self.weight_bits), ("activation_bits", self.activation_bits)):
            if bits is not None and bits not in BITS:
                raise ConfigError(f"{name} must be {BITS[0]} to {BITS[-1]}, or null for floats, found {bits}")
        if self.weight_bits is None and self.activation_bits is None:
            raise ConfigError("quantization needs weight_bits, activation_bits or both; both are null")


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Round weights to symmetric codes, one scale for each output channel.

    Args:
        weight: (O, …) float.
        bits: 2 to 8; codes lie in -(2^(bits-1) - 1) … 2^(bits-1) - 1, so that zero is exact and the signs balance.

    Returns:
        Codes (O, …) int8 and scales (O,) float32; real = code * scale.
    """
    highest_code = 2 ** (bits - 1) - 1
    largest = weight.abs().flatten(1).amax(1)
    scale = torch.where(largest > 0, largest, 1.0) / highest_code  # a channel of zeros keeps a usable scale
    shape = (-1, *(1,) * (weight.dim() - 1))
    codes = torch.round(weight / scale.view(shape)).clamp(-highest_code, highest_code)
    return codes.to(torch.int8), scale
