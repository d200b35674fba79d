"""Ranges of a generator's activations, layer by layer: of each layer's input, and of each channel of its output.

The range that is kept is the one whose rounding and clipping errors together are smallest ("MSE"), among shrunken
copies of the observed one. One outlier in millions of pixels would otherwise set the step of all others, which costs
networks with instance normalisation several dB.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ganpress.compression.calibration import SATURATION
from ganpress.compression.rounding import Clipping
from ganpress.compression.sites import Site
from ganpress.errors import ConfigError

SHRINKING = tuple(0.92**step for step in range(20))
"""Candidate ranges as shares of the observed one, 1 down to 0.2."""
PIXELS = 2048
"""Pixels of an image that each candidate is judged on; spread evenly, an odd step apart."""


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest values of tensors or channels, float32 (C,); each range holds zero."""

    low: Tensor
    high: Tensor

    def merged(self, other: "Ranges") -> "Ranges":
        """The ranges that cover both."""
        return Ranges(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))

    def scaled(self, share: Tensor | float) -> "Ranges":
        """Ranges of this share of the width, zero held."""
        return Ranges(self.low * share, self.high * share)


@dataclass(frozen=True)
class LayerRanges:
    """What is to be rounded of one layer."""

    source: Ranges
    """Of the input, (1,)."""
    target: Ranges
    """Of each channel of the output, (O,), as far as what follows can tell values apart."""
    centre: Tensor
    """What is taken off each channel first, (O,); not zero only where an instance normalisation takes it off anyway."""
    deviation: Tensor
    """Standard deviation of each output channel within an image, (O,); zero for layers of single pixels."""

    @property
    def crest(self) -> float:
        """Width of the output's range in standard deviations, median over channels; 0 where there is none.

        Rounding to b bits leaves a signal-to-noise ratio of 2^b sqrt(12) / crest. What follows is judged by its
        deviation where that is an instance normalisation, so that a few outliers take the precision of all else.
        """
        ratio = (self.target.high - self.target.low) / self.deviation
        finite = ratio[torch.isfinite(ratio)]
        return float(finite.median()) if finite.numel() else 0.0


Batches = Callable[[], Iterator[Tensor]]
Look = Callable[[str, Tensor, Tensor], None]


def measure_ranges(
    model: nn.Module, sites: tuple[Site, ...], batches: Batches, bits: int, clipping: Clipping
) -> dict[str, LayerRanges]:
    """Run a generator over calibration inputs and find the range of every layer's input and output channels.

    Args:
        model: in eval mode, batch normalisations folded.
        sites: its layers.
        batches: gives the calibration inputs from the start, each time it is called.
        bits: width of the codes that the ranges are for.
        clipping: `none` keeps smallest and largest value.

    Raises:
        ConfigError: if an activation is not finite.
    """
    observed = _observe(model, sites, batches)
    if clipping == "none":
        return observed
    errors: dict[str, list[Tensor]] = {}
    followers = {site.name: site for site in sites}

    def look(name: str, source: Tensor, target: Tensor) -> None:
        ranges = observed[name]
        target = _told_apart(_pixels(target) - ranges.centre[:, None], followers[name])
        found = [
            _errors(_pixels(source).reshape(1, 1, -1), ranges.source, bits),
            _errors(target, ranges.target, bits),
        ]
        errors[name] = [a + b for a, b in zip(errors[name], found, strict=True)] if name in errors else found

    _run(model, sites, batches, look)
    return {name: _clipped(ranges, *errors[name]) for name, ranges in observed.items()}


def _observe(model: nn.Module, sites: tuple[Site, ...], batches: Batches) -> dict[str, LayerRanges]:
    seen: dict[str, tuple[Ranges, Ranges]] = {}
    variances: dict[str, list[Tensor]] = {}
    followers = {site.name: site for site in sites}

    def look(name: str, source: Tensor, target: Tensor) -> None:
        low, high = target.amin((0, 2, 3)), target.amax((0, 2, 3))
        found = Ranges(*(bound[None] for bound in source.aminmax())), Ranges(low, high)
        for ranges in found:
            if not bool(torch.isfinite(ranges.low).all() and torch.isfinite(ranges.high).all()):
                raise ConfigError(f"layer '{name}' has activations that are not finite; train the generator again")
        variances.setdefault(name, []).extend(target.var((2, 3), correction=0))
        seen[name] = (found[0].merged(seen[name][0]), found[1].merged(seen[name][1])) if name in seen else found

    _run(model, sites, batches, look)
    return {
        name: _layer_ranges(*seen[name], torch.stack(variances[name]).mean(0).sqrt(), followers[name]) for name in seen
    }


def _layer_ranges(source: Ranges, target: Ranges, deviation: Tensor, site: Site) -> LayerRanges:
    zero = torch.zeros(1)
    source = Ranges(torch.minimum(source.low, zero), torch.maximum(source.high, zero))
    centre = torch.zeros_like(target.low)
    if site.follower == "instance_norm":
        centre = (target.low + target.high) / 2
        target = Ranges(target.low - centre, target.high - centre)
    low, high = _told_apart(torch.stack([target.low, target.high]), site)
    return LayerRanges(source, Ranges(torch.minimum(low, zero), torch.maximum(high, zero)), centre, deviation)


def _told_apart(values: Tensor, site: Site) -> Tensor:
    """Clip values beyond which what follows the layer gives the same."""
    if site.follower == "relu":
        return values.clamp(min=0)
    return values.clamp(-SATURATION, SATURATION) if site.follower == "tanh" else values


def _pixels(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, P) with at most twice PIXELS of them."""
    step = math.ceil(x.shape[2] * x.shape[3] / PIXELS)
    return x.flatten(2)[:, :, :: step | 1]


def _errors(x: Tensor, ranges: Ranges, bits: int) -> Tensor:
    """Squared error of rounding x (N, C, P) to codes of each candidate range: (candidates, C)."""
    found = []
    for share in SHRINKING:
        scale, zero_point = affine(ranges.scaled(share), bits)
        codes = (torch.round(x / scale[:, None]) + zero_point[:, None]).clamp(0, 2**bits - 1)
        found.append(((codes - zero_point[:, None]) * scale[:, None] - x).square().sum((0, 2), dtype=torch.float64))
    return torch.stack(found)


def _clipped(ranges: LayerRanges, source: Tensor, target: Tensor) -> LayerRanges:
    shares = torch.tensor(SHRINKING)
    best = [shares[errors.argmin(0)] for errors in (source, target)]
    return replace(ranges, source=ranges.source.scaled(best[0]), target=ranges.target.scaled(best[1]))


def affine(ranges: Ranges, bits: int) -> tuple[Tensor, Tensor]:
    """Scales and zero points (C,) of the codes 0 … 2^bits - 1 that cover ranges; zero is exact. Both float32."""
    highest_code = 2**bits - 1
    width = ranges.high - ranges.low
    scale = torch.where(width > 0, width / highest_code, 1.0)
    return scale, torch.round(-ranges.low / scale).clamp(0, highest_code)


@torch.no_grad()
def _run(model: nn.Module, sites: tuple[Site, ...], batches: Batches, look: Look) -> None:
    with _hooked(model, sites, look):
        for batch in batches():
            model(batch)


@contextmanager
def _hooked(model: nn.Module, sites: tuple[Site, ...], look: Look) -> Iterator[None]:
    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        return lambda _, inputs, output: look(name, _as_maps(inputs[0]), _as_maps(output))

    handles = [model.get_submodule(site.name).register_forward_hook(hook(site.name)) for site in sites]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _as_maps(x: Tensor) -> Tensor:
    """What a linear layer sees, (…, C), as maps of one pixel; maps stay."""
    return x if x.dim() == 4 else x.reshape(-1, x.shape[-1], 1, 1)
