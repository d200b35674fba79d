"""Measures ranges of a generator's activations: of each layer's input, and of each channel of its output.

One outlier in millions of pixels would determine the step of all others, which costs networks with instance
normalisation several dB; therefore ranges are clipped, see `ganpress.compression.ranges.clipping`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.preparation.sites import Site
from ganpress.compression.ranges.clipping import clip
from ganpress.compression.ranges.histograms import Histogram, Ranges
from ganpress.compression.ranges.layer_ranges import LayerRanges, with_shared_codes
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.errors import ConfigError
from models.quantized_layers import QuantizedConv

PIXELS = 4096
"""Number of an image's pixels in a histogram; they are spread evenly, an odd step apart."""
CHANNELWISE = ("instance_norm", "tanh")
"""What leaves an output channel a scale of its own: a normalisation, which makes all channels alike, and the image.

Other channels share one scale, unless their reader has one for each. Ranges of single channels, measured on few values,
clip those of unseen inputs: SRGAN, calibrated on two pictures of 32x32, has 11 dB more with one scale. And ONNX Runtime
decodes with one scale 13 times as fast as with many in channels-last order.
"""
SATURATION = math.atanh(1 - 1 / 255)
"""Beyond this value, tanh rounds to pixel 0 or 255, so the head needs no larger range."""
PICTURE_TOLERANCE = 1e-3
"""Largest distance, in quantization steps, at which a value counts as one of a picture's 256 values."""


HISTOGRAM_PIXELS, FEWEST_PICTURES = 2**20, 16
"""Of the pictures together whose values go into histograms: all of 64x64 up to 256, but 16 of 256x256. Their bounds
come from all."""


Batches = Callable[[], Iterator[Tensor]]
Look = Callable[[str, Tensor, Tensor], None]


def measure_ranges(
    model: nn.Module, sites: tuple[Site, ...], batches: Batches, config: QuantizationConfig
) -> dict[str, LayerRanges]:
    """Run a generator over calibration inputs and find the range of every layer's input and output channels.

    Args:
        model: a generator in eval mode, with folded batch normalisations.
        sites: its layers.
        batches: function that returns the calibration inputs from the start at each call.
        config: bits, clipping, and which channels have their own ranges.

    Layers whose only readers are quantized layers get the ranges of these, see
    `ganpress.compression.preparation.code_flows`.

    Raises:
        ConfigError: if an activation is not finite.
    """
    return with_shared_codes(_measured(model, sites, batches, config), sites)


def _measured(
    model: nn.Module, sites: tuple[Site, ...], batches: Batches, config: QuantizationConfig
) -> dict[str, LayerRanges]:
    observed = _observe(model, sites, batches, config)
    method = config.activation_clipping or "mse"
    if method == "none" or config.activation_bits is None:
        return observed
    histograms: dict[str, tuple[Histogram, Histogram]] = {}
    followers = {site.name: site for site in sites}

    def look(name: str, source: Float[Tensor, "n i h w"], target: Float[Tensor, "n o h_out w_out"]) -> None:
        ranges = observed[name]
        target = told_apart(_channels(target) - ranges.centre[:, None], followers[name])
        found = (
            Histogram.of(_grouped(_channels(source), len(ranges.source.low)), ranges.source),
            Histogram.of(_grouped(target, len(ranges.target.low)), ranges.target),
        )
        before = histograms.get(name)
        histograms[name] = found if before is None else (before[0].merged(found[0]), before[1].merged(found[1]))

    run_hooked(model, sites, lambda: _enough(batches()), look)
    bits, percentile = config.activation_bits, config.percentile
    clipped = {}
    for name, pair in histograms.items():
        source, target = (clip(one, bits, method, percentile=percentile) for one in pair)
        clipped[name] = replace(observed[name], source=source, target=target)
    if config.symmetric:
        return {name: _balanced(ranges) for name, ranges in clipped.items()}
    return clipped


def _enough(batches: Iterator[Float[Tensor, "n ..."]]) -> Iterator[Float[Tensor, "n ..."]]:
    """Give batches until histograms have enough values."""
    given = 0
    for batch in batches:
        most = max(FEWEST_PICTURES, HISTOGRAM_PIXELS // math.prod(batch.shape[2:])) if batch.dim() == 4 else math.inf
        if given >= most:
            return
        rows = batch[: int(min(len(batch), most - given))]
        given += len(rows)
        yield rows


def _balanced(ranges: LayerRanges) -> LayerRanges:
    return replace(ranges, source=ranges.source.balanced(), target=ranges.target.balanced())


def _grouped(channels: Float[Tensor, "c n"], count: int) -> Float[Tensor, "ranges values"]:
    """Group values for `count` ranges: unchanged, or all together."""
    return channels if count == len(channels) else channels.reshape(1, -1)


def _observe(
    model: nn.Module, sites: tuple[Site, ...], batches: Batches, config: QuantizationConfig
) -> dict[str, LayerRanges]:
    seen: dict[str, tuple[Ranges, Ranges]] = {}
    variances: dict[str, list[Tensor]] = {}
    pictures = {site.name: True for site in sites}

    def look(name: str, source: Float[Tensor, "n i h w"], target: Float[Tensor, "n o h_out w_out"]) -> None:
        found = tuple(Ranges(x.amin((0, 2, 3)), x.amax((0, 2, 3))) for x in (source, target))
        for ranges in found:
            if not bool(torch.isfinite(ranges.low).all() and torch.isfinite(ranges.high).all()):
                raise ConfigError(f"layer '{name}' has activations that are not finite; train the generator again")
        variances.setdefault(name, []).extend(target.var((2, 3), correction=0))
        pictures[name] = pictures[name] and is_picture(source)
        before = seen.get(name, found)
        seen[name] = (found[0].merged(before[0]), found[1].merged(before[1]))

    run_hooked(model, sites, batches, look)
    observed = {}
    for site in sites:
        deviation = torch.stack(variances[site.name]).mean(0).sqrt()
        observed[site.name] = _layer_ranges(*seen[site.name], deviation, site, config, pictures[site.name])
    return {name: _balanced(ranges) for name, ranges in observed.items()} if config.symmetric else observed


def is_picture(x: Float[Tensor, "n c h w"]) -> bool:
    """Whether every value is one of the 256 of a picture in [-1, 1], which is also true of a one-hot map."""
    codes = (x + 1) * 127.5
    return bool((codes - codes.round()).abs().max() < PICTURE_TOLERANCE and codes.min() > -0.5 and codes.max() < 255.5)


def _layer_ranges(
    source: Ranges,
    target: Ranges,
    deviation: Float[Tensor, " o"],
    site: Site,
    config: QuantizationConfig,
    picture: bool,
) -> LayerRanges:
    zero = torch.zeros(1)
    if not (config.channel_inputs and config.weight_bits is not None):
        source = Ranges(source.low.amin()[None], source.high.amax()[None])
    source = Ranges(torch.minimum(source.low, zero), torch.maximum(source.high, zero))
    centre = torch.zeros_like(target.low)
    if site.follower == "instance_norm":
        centre = (target.low + target.high) / 2
        target = Ranges(target.low - centre, target.high - centre)
    low, high = told_apart(torch.stack([target.low, target.high]), site)
    if not config.per_channel or not (config.channel_inputs or site.follower in CHANNELWISE):
        low, high = low.amin()[None], high.amax()[None]
    return LayerRanges(source, Ranges(torch.minimum(low, zero), torch.maximum(high, zero)), centre, deviation, picture)


def told_apart(values: Float[Tensor, "*shape"], site: Site) -> Float[Tensor, "*shape"]:
    """Clip to the range in which the next operator is not saturated."""
    if site.follower == "relu":
        return values.clamp(min=0)
    return values.clamp(-SATURATION, SATURATION) if site.follower == "tanh" else values


def _channels(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "c values"]:
    """Reshape (N, C, H, W) -> (C, N P), with at most 2 PIXELS pixels of each image."""
    step = math.ceil(x.shape[2] * x.shape[3] / PIXELS)
    return x.flatten(2)[:, :, :: step | 1].transpose(0, 1).flatten(1)


@torch.no_grad()
def run_hooked(model: nn.Module, sites: tuple[Site, ...], batches: Batches, look: Look) -> None:
    """Run a network over batches and call `look` with name, input and output of each layer as maps."""
    with _hooked(model, sites, look):
        for batch in batches():
            model(batch)


@contextmanager
def _hooked(model: nn.Module, sites: tuple[Site, ...], look: Look) -> Iterator[None]:
    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        return lambda layer, inputs, output: look(name, _as_maps(layer, inputs[0]), _as_maps(layer, output))

    handles = [model.get_submodule(site.name).register_forward_hook(hook(site.name)) for site in sites]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _as_maps(layer: nn.Module, x: Float[Tensor, "n ..."]) -> Float[Tensor, "maps c h w"]:
    """Reshape the input (…, C) of a linear layer to maps of one pixel; the input of a convolution is unchanged."""
    linear = isinstance(layer, nn.Linear) or (isinstance(layer, QuantizedConv) and layer.linear)
    return x.reshape(-1, x.shape[-1], 1, 1) if linear else x
