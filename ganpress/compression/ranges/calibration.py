"""Activation ranges, measured on latents before quantization."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganpress.compression.ranges.clipping import clip
from ganpress.compression.ranges.histograms import Histogram, Ranges
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.errors import ConfigError
from models.edge_wdcgan import EdgeWdcgan

BATCH_SIZE = 64
"""Latents run at once; the ranges do not depend on it."""

SATURATION = math.atanh(1 - 1 / 255)
"""Beyond this, tanh rounds to pixel 0 or 255: the head needs no codes there."""


@dataclass(frozen=True)
class ActivationRange:
    """Smallest and largest value of one tensor; holds zero, because padding and ReLU need an exact zero."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= 0 <= self.high):
            raise ConfigError(f"an activation range is finite and holds 0, found [{self.low}, {self.high}]")


@torch.no_grad()
def calibrate(model: EdgeWdcgan, z: Tensor, config: QuantizationConfig | None = None) -> tuple[ActivationRange, ...]:
    """Measure the range of the latents, of each layer's output before its rearrangement, and of the head before tanh.

    Args:
        model: in eval mode, batch normalisation folded.
        z: calibration latents, (N, Z).
        config: how ranges are clipped; None, or no method in it, keeps smallest and largest value.

    Raises:
        ConfigError: if `z` is empty, of another shape than (N, Z), or an activation is not finite.
    """
    if z.dim() != 2 or z.shape[0] == 0 or z.shape[1] != model.latent:
        raise ConfigError(f"calibration latents must be (N, {model.latent}) with N >= 1, found {tuple(z.shape)}")
    batches = [_extremes(model, batch) for batch in torch.split(z, BATCH_SIZE)]
    merged = tuple(_merge(ranges) for ranges in zip(*batches, strict=True))
    if config is not None and config.activation_bits is not None:
        merged = _clipped(model, z, merged, config, config.activation_bits)
    *hidden, head = merged
    return (*hidden, ActivationRange(max(head.low, -SATURATION), min(head.high, SATURATION)))


def _extremes(model: EdgeWdcgan, z: Tensor) -> list[ActivationRange]:
    bounds = (x.aminmax() for x in model.activations(z))
    return [ActivationRange(min(float(low), 0.0), max(float(high), 0.0)) for low, high in bounds]


def _clipped(
    model: EdgeWdcgan, z: Tensor, seen: tuple[ActivationRange, ...], config: QuantizationConfig, bits: int
) -> tuple[ActivationRange, ...]:
    ranges = [Ranges(torch.tensor([one.low]), torch.tensor([one.high])) for one in seen]
    if config.symmetric:
        ranges = [one.balanced() for one in ranges]
    method = config.activation_clipping or "none"
    if method != "none":
        histograms: list[Histogram | None] = [None] * len(ranges)
        for batch in torch.split(z, BATCH_SIZE):
            for place, x in enumerate(model.activations(batch)):
                found, before = Histogram.of(x.reshape(1, -1), ranges[place]), histograms[place]
                histograms[place] = found if before is None else before.merged(found)
        ranges = [clip(one, bits, method, percentile=config.percentile) for one in histograms if one is not None]
        ranges = [one.balanced() for one in ranges] if config.symmetric else ranges
    return tuple(ActivationRange(float(one.low), float(one.high)) for one in ranges)


def _merge(ranges: Sequence[ActivationRange]) -> ActivationRange:
    return ActivationRange(min(one.low for one in ranges), max(one.high for one in ranges))
