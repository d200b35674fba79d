"""What to round and how, and weights as codes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganpress.compression.clipping import BITS, CLIPPINGS, PERCENTILE, Clipping, check_bits, check_percentile, clip
from ganpress.compression.histograms import Histogram, Ranges, ranges_of
from ganpress.errors import ConfigError


@dataclass(frozen=True)
class QuantizationConfig:
    """Bit widths and how codes are chosen. Runtimes have integer kernels where both widths are set.

    On x86 processors without VNNI instructions 8-bit weights can overflow the 16-bit sums of the runtime's kernels; the
    verification of the export catches that, and `weight_bits=7` avoids it.
    """

    weight_bits: int | None
    """Symmetric; None leaves floats."""
    activation_bits: int | None
    """Ranges from calibration; None leaves floats."""
    clipping: Clipping = "none"
    """Of weights, see `ganpress.compression.clipping`."""
    activation_clipping: Clipping | None = None
    """Of activations; None takes the default: `none` for W-DCGAN, whose codes pass from layer to layer, else `mse`."""
    percentile: float = PERCENTILE
    """Share of values inside the bounds, in percent, where clipping is by `percentile`."""
    symmetric: bool = False
    """Whether the bounds of activations are as far below zero as above it."""
    per_channel: bool = True
    """Whether each channel has a scale of its own; integer kernels of weights and outputs allow it at no cost."""
    channel_inputs: bool = False
    """Whether each channel of a layer's input has one, too, moved into the weights; not for W-DCGAN."""
    compensated: bool = False
    """Whether weights are rounded one after the other, each making up for the error of those before."""
    mean_weight_bits: float | None = None
    """Layers get widths of their own, from 2 to `weight_bits`, with this mean over all weights: wide where rounding
    harms the images of the calibration inputs most. None gives all the same. Not for W-DCGAN.
    """
    min_snr_db: float | None = None
    """Layers stay in floats, the most harmful for their work first, until the images of the calibration inputs are that
    near; None leaves it to `max_crest`. Not for W-DCGAN.
    """
    max_crest: float = 24.0
    """Layers before an instance normalisation whose output's range is wider, in standard deviations, stay in floats: at
    24, 8 bits leave 31 dB. Outliers at the border of transposed convolutions reach 70.
    """

    def __post_init__(self) -> None:
        if not self.max_crest > 0:
            raise ConfigError(f"max_crest is a number of standard deviations above 0, found {self.max_crest}")
        check_bits("weight_bits", self.weight_bits)
        check_bits("activation_bits", self.activation_bits)
        if self.weight_bits is None and self.activation_bits is None:
            raise ConfigError("quantization needs weight_bits, activation_bits or both; both are null")
        mean, widest = self.mean_weight_bits, self.weight_bits
        if mean is not None and (widest is None or not BITS[0] <= mean <= widest):
            raise ConfigError(f"mean_weight_bits must be {BITS[0]} to weight_bits, which is {widest}, found {mean}")
        for name, method in (("clipping", self.clipping), ("activation_clipping", self.activation_clipping)):
            if method is not None and method not in CLIPPINGS:
                raise ConfigError(f"{name} must be one of {', '.join(CLIPPINGS)}, found '{method}'")
        check_percentile(self.percentile)


def quantize_weight(
    weight: Tensor, bits: int, clipping: Clipping = "none", per_channel: bool = True, percentile: float = PERCENTILE
) -> tuple[Tensor, Tensor]:
    """Round weights to the nearest symmetric codes.

    Args:
        weight: (O, …) float.
        bits: 2 to 8; codes lie in -(2^(bits-1) - 1) … 2^(bits-1) - 1, so that zero is exact and the signs balance.
        clipping: which weight has the largest code; `none`: the one of largest magnitude.
        per_channel: whether each output channel has its own scale; else all have the same.
        percentile: share of weights inside, in percent, where clipping is by `percentile`.

    Returns:
        Codes (O, …) int8 and scales (O,) float32; real = code * scale.
    """
    scale = weight_scale(weight, bits, clipping, per_channel, percentile)
    highest_code = 2 ** (bits - 1) - 1
    codes = torch.round(weight / scale.view(-1, *(1,) * (weight.dim() - 1))).clamp(-highest_code, highest_code)
    return codes.to(torch.int8), scale


def weight_scale(
    weight: Tensor, bits: int, clipping: Clipping = "none", per_channel: bool = True, percentile: float = PERCENTILE
) -> Tensor:
    """Scales (O,) of the codes of weights (O, …); see `quantize_weight`."""
    channels = weight.flatten(1) if per_channel else weight.reshape(1, -1)
    largest = channels.abs().amax(1)
    if clipping != "none":
        ranges: Ranges = ranges_of(channels).balanced()
        largest = clip(Histogram.of(channels, ranges), bits, clipping, symmetric=True, percentile=percentile).high
    highest_code = 2 ** (bits - 1) - 1
    scale: Tensor = torch.where(largest > 0, largest, 1.0) / highest_code  # a channel of zeros keeps a usable scale
    return scale.expand(weight.shape[0]).contiguous()
