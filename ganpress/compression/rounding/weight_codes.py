"""The settings of quantization, and the quantization of weights."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Real
from torch import Tensor

from ganpress.compression.ranges.clipping import BITS, CLIPPINGS, PERCENTILE, check_bits, check_percentile, clip
from ganpress.compression.ranges.histograms import Histogram, affine, ranges_of
from ganpress.config.edge_section import Clipping
from ganpress.errors import ConfigError

WEIGHT_OPTIONS = ("asymmetric_weights", "compensated", "adaptive", "split_share", "mean_weight_bits")


@dataclass(frozen=True)
class QuantizationConfig:
    """Bit widths and settings of rounding. Runtimes use integer kernels if both widths are set.

    On x86 processors without VNNI instructions 8-bit weights can overflow the 16-bit sums of ONNX Runtime's kernels.
    ganpress runs files with the setting `session.x64quantprecision`, which avoids that. Other programs on such a
    processor must set it as well, or use files with `weight_bits=7`.
    """

    weight_bits: int | None
    """Bits of symmetric weights; None keeps floats."""
    activation_bits: int | None
    """Bits of activations with ranges from calibration; None keeps floats."""
    clipping: Clipping = "none"
    """Clipping method of weights, see `ganpress.compression.ranges.clipping`."""
    activation_clipping: Clipping | None = None
    """Clipping method of activations; None takes the default, `mse`."""
    percentile: float = PERCENTILE
    """Share of values inside the bounds, in percent, for the clipping method `percentile`."""
    symmetric: bool = False
    """Whether activations have the same bound below and above zero."""
    per_channel: bool = True
    """Whether each channel of weights has its own scale, which costs integer kernels nothing, and each channel of
    outputs that gain by it, see `ganpress.compression.ranges.activations`.
    """
    channel_inputs: bool = False
    """Whether each channel of a layer's input also has its own scale, which is moved into the weights."""
    asymmetric_weights: bool = False
    """Whether the range of weights is from the smallest to the largest one, and not symmetric around zero."""
    compensated: bool = False
    """Whether weights are rounded one after another, each compensating the errors of the ones before."""
    adaptive: bool = False
    """Whether gradient descent decides which weights are rounded up or down (AdaRound)."""
    split_share: float = 0.0
    """Share of each layer's input channels, those with outliers, that are read twice with half of their weights. Not
    for grouped layers.
    """
    corrected_bias: bool = False
    """Whether the mean error of each output channel is taken off its bias; not before an instance normalisation."""
    mean_weight_bits: float | None = None
    """Mean bits over all weights; sensitive layers get more bits and others fewer, from 2 to `weight_bits`. None gives
    all layers the same width.
    """
    min_snr_db: float | None = None
    """Layers stay in floats, those with the largest error per MAC first, until images reach this SNR; measured on the
    last quarter of the calibration inputs, which is not used for ranges. None uses only `max_crest`.
    """
    max_crest: float = 24.0
    """Layers before an instance normalisation with a wider output range, in standard deviations, stay in floats: at 24,
    8 bits give 31 dB. Outliers at the border of transposed convolutions reach 70.
    """

    def __post_init__(self) -> None:
        if not self.max_crest > 0:
            raise ConfigError(f"max_crest is a number of standard deviations above 0, found {self.max_crest}")
        check_bits("weight_bits", self.weight_bits)
        check_bits("activation_bits", self.activation_bits)
        if self.weight_bits is None and self.activation_bits is None:
            raise ConfigError("quantization needs weight_bits, activation_bits or both; both are null")
        if self.compensated and self.adaptive:
            raise ConfigError("weights are rounded compensated or adaptive, not both; leave one out")
        if not 0 <= self.split_share < 1:
            raise ConfigError(f"split_share must be at least 0 and below 1, found {self.split_share}")
        if self.weight_bits is None and (wanted := self.weight_options):
            raise ConfigError(f"{', '.join(wanted)} need weight_bits, which is null: weights in floats are not rounded")
        mean, widest = self.mean_weight_bits, self.weight_bits
        if mean is not None and (widest is None or not BITS[0] <= mean <= widest):
            raise ConfigError(f"mean_weight_bits must be {BITS[0]} to weight_bits, which is {widest}, found {mean}")
        for name, method in (("clipping", self.clipping), ("activation_clipping", self.activation_clipping)):
            if method is not None and method not in CLIPPINGS:
                raise ConfigError(f"{name} must be one of {', '.join(CLIPPINGS)}, found '{method}'")
        check_percentile(self.percentile)

    @property
    def weight_options(self) -> tuple[str, ...]:
        """Chosen options that need quantized weights."""
        return tuple(name for name in WEIGHT_OPTIONS if getattr(self, name))


@dataclass(frozen=True)
class CodeBook:
    """Codes of the weights of each output channel; each tensor is (O,), real = code * scale."""

    scale: Tensor
    """Scales, float32."""
    lowest: Tensor
    highest: Tensor

    def round(self, weight: Float[Tensor, " o *rest"]) -> Float[Tensor, " o *rest"]:
        """Return the nearest codes of weights, as whole numbers in the weights' own type."""
        return self.clamp(torch.round(weight / _beside(self.scale, weight)))

    def clamp(self, codes: Real[Tensor, " o *rest"]) -> Real[Tensor, " o *rest"]:
        """Clamp codes to those of the book."""
        low, high = (_beside(bound, codes).to(codes.dtype) for bound in (self.lowest, self.highest))
        return torch.minimum(torch.maximum(codes, low), high)


def code_book(
    weight: Float[Tensor, "o ..."],
    bits: int,
    clipping: Clipping = "none",
    per_channel: bool = True,
    percentile: float = PERCENTILE,
    asymmetric: bool = False,
) -> CodeBook:
    """Choose the codes of weights.

    An asymmetric book has 2^bits codes from the smallest weight to the largest, including zero, and is stored minus its
    zero point: integer kernels then run it like a symmetric one, because they have no zero points for each channel of
    weights (Krishnamoorthi 2018, section 2.1, names the cost of one). Codes must fit into int8, so at 8 bits it is at
    most twice as wide as its wider side, and gains almost nothing.

    Args:
        weight: weights of a layer, outputs first.
        bits: 2 to 8. A symmetric book is -(2^(bits-1) - 1) … 2^(bits-1) - 1, so that zero is exact and signs balance.
        clipping: method that chooses the weight with the largest code; with `none` it is that of largest magnitude.
        per_channel: whether each output channel has its own codes; else all have the same.
        percentile: share of weights inside the bounds, in percent, for the clipping method `percentile`.
        asymmetric: see above.
    """
    channels = weight.flatten(1) if per_channel else weight.reshape(1, -1)
    seen = ranges_of(channels) if asymmetric else ranges_of(channels).balanced()
    if clipping != "none":
        seen = clip(Histogram.of(channels, seen), bits, clipping, symmetric=not asymmetric, percentile=percentile)
    if asymmetric:
        scale, _ = affine(seen, bits)
        scale = torch.maximum(scale, torch.maximum(-seen.low / 128, seen.high / 127))
        zero_point = torch.round(-seen.low / scale)
        lowest, highest = -zero_point, (2**bits - 1 - zero_point).clamp(max=127)
    else:
        highest = torch.full_like(seen.high, 2 ** (bits - 1) - 1)
        lowest = -highest
        scale = torch.where(seen.high > 0, seen.high, 1.0) / highest  # a channel of zeros keeps a usable scale
    return CodeBook(*(bound.expand(len(weight)).contiguous() for bound in (scale, lowest, highest)))


def _beside(values: Float[Tensor, " o"], weight: Real[Tensor, "o ..."]) -> Float[Tensor, "o ..."]:
    """Reshape values, one for each output, to the dimensions of weights."""
    return values.view(-1, *(1,) * (weight.dim() - 1))
