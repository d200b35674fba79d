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
    """Bit widths and how codes are chosen. Runtimes have integer kernels where both widths are set.

    On x86 processors without VNNI instructions 8-bit weights can overflow the 16-bit sums of ONNX Runtime's kernels.
    ganpress runs files with the setting `session.x64quantprecision`, which avoids that; whoever runs a file elsewhere
    on such a processor sets it too, or takes `weight_bits=7`.
    """

    weight_bits: int | None
    """Symmetric; None leaves floats."""
    activation_bits: int | None
    """Ranges from calibration; None leaves floats."""
    clipping: Clipping = "none"
    """Clipping method of weights, see `ganpress.compression.ranges.clipping`."""
    activation_clipping: Clipping | None = None
    """Clipping method of activations; None takes the default, `mse`."""
    percentile: float = PERCENTILE
    """Share of values inside the bounds, in percent, where clipping is by `percentile`."""
    symmetric: bool = False
    """Whether the bounds of activations are as far below zero as above it."""
    per_channel: bool = True
    """Whether each channel of weights has a scale of its own, which costs integer kernels nothing, and each channel of
    outputs that gain by it, see `ganpress.compression.ranges.activations`.
    """
    channel_inputs: bool = False
    """Whether each channel of a layer's input has one, too, moved into the weights."""
    asymmetric_weights: bool = False
    """Whether codes of weights reach as far as the weights do on either side of zero; else as far on both."""
    compensated: bool = False
    """Whether weights are rounded one after the other, each making up for the error of those before."""
    adaptive: bool = False
    """Whether each weight is rounded up or down by what a descent finds best for the layer's output (AdaRound)."""
    split_share: float = 0.0
    """Share of each layer's input channels that are read twice, at half their weights: those with the outliers. Not for
    grouped layers.
    """
    corrected_bias: bool = False
    """Whether biases take the mean error of each output channel off; not before an instance normalisation, which does.
    """
    mean_weight_bits: float | None = None
    """Layers get widths of their own, from 2 to `weight_bits`, with this mean over all weights: wide where rounding
    harms the images of the calibration inputs most. None gives all the same.
    """
    min_snr_db: float | None = None
    """Layers stay in floats, the most harmful for their work first, until images are that near; measured on the last
    quarter of the calibration inputs, which ranges are not measured on. None leaves it to `max_crest`.
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
        if self.compensated and self.adaptive:
            raise ConfigError("weights are rounded compensated or adaptive, not both; leave one out")
        if not 0 <= self.split_share < 1:
            raise ConfigError(f"split_share is at least 0 and below 1, found {self.split_share}")
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
        """Options that were taken and mean nothing where weights are floats."""
        return tuple(name for name in WEIGHT_OPTIONS if getattr(self, name))


@dataclass(frozen=True)
class CodeBook:
    """Codes that the weights of each output channel may have; each tensor is (O,), real = code * scale."""

    scale: Tensor
    """float32."""
    lowest: Tensor
    highest: Tensor

    def round(self, weight: Float[Tensor, " o *rest"]) -> Float[Tensor, " o *rest"]:
        """The nearest codes of weights, as whole numbers in the weights' own type."""
        return self.clamp(torch.round(weight / _beside(self.scale, weight)))

    def clamp(self, codes: Real[Tensor, " o *rest"]) -> Real[Tensor, " o *rest"]:
        """The nearest codes of the book, for codes of weights."""
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

    An asymmetric book has 2^bits codes from the smallest weight to the largest, zero among them, and is stored less its
    zero point: integer kernels then run it as they run a symmetric one, with no zero point of weights, which they do
    not have for each channel (Krishnamoorthi 2018, section 2.1, names the cost of one). Codes stay within int8; so at 8
    bits it is at most as wide as twice its wider side, and gains next to nothing.

    Args:
        weight: of a layer, its outputs first.
        bits: 2 to 8. A symmetric book is -(2^(bits-1) - 1) … 2^(bits-1) - 1, so that zero is exact and signs balance.
        clipping: which weight has the largest code; `none`: the one of largest magnitude.
        per_channel: whether each output channel has its own codes; else all have the same.
        percentile: share of weights inside, in percent, where clipping is by `percentile`.
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
    """Values, one an output, in as many dimensions as weights have."""
    return values.view(-1, *(1,) * (weight.dim() - 1))
