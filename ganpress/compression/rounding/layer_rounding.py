"""Quantizes each layer of a prepared generator: ranges, weights and biases."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64, Real
from torch import Tensor

from ganpress.compression.preparation.outlier_splitting import split_outliers
from ganpress.compression.preparation.plain_layers import Prepared
from ganpress.compression.preparation.sites import Site
from ganpress.compression.ranges.activations import measure_ranges, run_hooked, told_apart
from ganpress.compression.ranges.histograms import affine
from ganpress.compression.ranges.layer_ranges import LayerRanges
from ganpress.compression.rounding.adaptive_rounding import round_adaptive
from ganpress.compression.rounding.compensation import patch_moments, round_compensated
from ganpress.compression.rounding.weight_codes import CodeBook, QuantizationConfig, code_book
from ganpress.metrics.fidelity import batches_of
from models.quantized import ActivationQuantizer
from models.quantized_layers import InputQuantizer, QuantizedConv, empty_layer


@torch.no_grad()
def round_layers(
    prepared: Prepared, config: QuantizationConfig, layer_bits: dict[str, int] | None = None
) -> dict[str, QuantizedConv]:
    """Quantize every layer that can be quantized, in the order in which they run.

    Args:
        prepared: the generator.
        config: bit widths and settings of rounding.
        layer_bits: weight bits of layers that differ from `config.weight_bits`.

    Raises:
        ConfigError: if an activation is not finite.
    """
    sites = prepared.sites
    ranges: dict[str, LayerRanges] = {}
    if config.activation_bits is not None:
        batches = lambda: iter(batches_of(prepared.inputs))  # noqa: E731
        ranges = measure_ranges(prepared.plain.network, sites, batches, config)
        if config.min_snr_db is None:
            sites = tuple(site for site in sites if not _has_outliers(site, ranges[site.name], config.max_crest))
    layers, weights = {}, {}
    for site in sites:
        bits = (layer_bits or {}).get(site.name, config.weight_bits)
        layers[site.name], weights[site.name] = _empty(prepared, site, bits, config, ranges.get(site.name))
    moments = _moments(prepared, sites, layers) if config.compensated or config.adaptive else {}
    for name, layer in layers.items():
        _set_weights_(layer, weights[name], config, moments.get(name))
        if name in ranges and layer.target is not None:
            layer.bias.sub_(layer.phases(ranges[name].centre))
    if config.corrected_bias:
        _correct_biases_(prepared, sites, layers)
    return layers


def _has_outliers(site: Site, ranges: LayerRanges, max_crest: float) -> bool:
    return site.follower == "instance_norm" and ranges.crest > max_crest


def _empty(
    prepared: Prepared, site: Site, bits: int | None, config: QuantizationConfig, ranges: LayerRanges | None
) -> tuple[QuantizedConv, Float[Tensor, "rro j_group kh kw"]]:
    """Return a layer with its ranges and its bias, and the weights to be rounded for it."""
    original, plain = prepared.model.get_submodule(site.name), prepared.plain.quantized_layer(site.name)
    layer = empty_layer(original, bits, config.activation_bits, config.channel_inputs, pixel=site.pixel)
    if ranges is not None:
        _set_ranges_(layer, ranges)
    weight = plain.weight
    layer.bias.copy_(plain.bias)
    if bits is None:
        return layer, weight
    if isinstance(layer.source, InputQuantizer):
        layer.bias.add_((weight * layer.of_inputs(layer.source.shift)).sum((1, 2, 3)))
        weight = weight * layer.of_inputs(layer.source.scale)
    if config.split_share == 0 or layer.geometry.groups > 1:
        return layer, weight
    whole = split_outliers(weight, config.split_share, per_channel=config.per_channel)
    step = _book(whole.weight, bits, config).scale
    split = split_outliers(weight, config.split_share, step, config.per_channel)
    repeated = len(split.channels) - weight.shape[1]
    wider = empty_layer(original, bits, config.activation_bits, config.channel_inputs, repeated, site.pixel)
    assert wider.channels is not None  # a share above 0 splits at least one
    wider.channels.copy_(split.channels)
    wider.load_state_dict({**wider.state_dict(), **_without_weights(layer)})
    return wider, split.weight


def _without_weights(layer: QuantizedConv) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in layer.state_dict().items() if name not in ("weight", "channels")}


def _set_ranges_(layer: QuantizedConv, ranges: LayerRanges) -> None:
    if isinstance(layer.source, InputQuantizer):
        _set_input_(layer.source, ranges, pads_zeros=any(layer.geometry.pad))
    elif isinstance(layer.source, ActivationQuantizer):
        scale, zero_point = affine(ranges.source, layer.source.bits)
        layer.source.scale.copy_(scale[0])
        layer.source.zero_point.copy_(zero_point[0])
    if layer.target is not None:
        scale, zero_point = affine(ranges.target, layer.target.bits)
        layer.target.scale.copy_(scale)
        layer.target.zero_point.copy_(zero_point)


def _set_input_(source: InputQuantizer, ranges: LayerRanges, pads_zeros: bool) -> None:
    """Set scale and zero point of each input channel; padded zeros must have the same code in all channels."""
    if ranges.picture and not pads_zeros and source.bits == 8:
        source.scale.fill_(2 / 255)
        source.offset.fill_(-1.0)
        return
    found = ranges.source
    signed = bool((found.low < 0).any())
    scale, zero_point = affine(found.balanced() if pads_zeros and signed else found, source.bits)
    silent = found.high == found.low  # a step of 1 would make their weights by far the largest
    if bool(silent.any()) and not bool(silent.all()):
        scale[silent] = scale[~silent].min()
    if pads_zeros and signed:
        zero_point.fill_(2 ** (source.bits - 1))  # a channel without values would have no step
    source.scale.copy_(scale)
    source.zero_point.copy_(zero_point)
    source.kernel_zero.fill_(2 ** (source.bits - 1) if signed else 0)


def _moments(
    prepared: Prepared, sites: tuple[Site, ...], layers: dict[str, QuantizedConv]
) -> dict[str, Float64[Tensor, "2 _ _ _"]]:
    """Return the second moments of the inputs of each layer's quantized weights, on the calibration inputs.

    Returns:
        for each layer those of every other input and those of the rest, so that one can be tested on the other.
    """
    found: dict[str, Tensor] = {}
    centred = {site.name: site.follower == "instance_norm" for site in sites}

    def look(name: str, source: Float[Tensor, "n i h w"], _: Float[Tensor, "n o h_out w_out"]) -> None:
        layer = layers[name]
        if isinstance(layer.source, InputQuantizer):  # the kernel reads codes
            source = layer.source.encode(source) - layer.source.kernel_zero
        halves = [
            patch_moments(layer.repeat(half), layer.geometry, centred[name])
            for half in (source[::2], source[1::2])
            if len(half)
        ]
        moments = torch.stack([halves[0], halves[1] if len(halves) == 2 else torch.zeros_like(halves[0])])
        found[name] = found[name] + moments if name in found else moments

    run_hooked(prepared.plain.network, sites, lambda: iter(batches_of(prepared.inputs)), look)
    return found


def _book(weight: Float[Tensor, "rro ..."], bits: int, config: QuantizationConfig) -> CodeBook:
    return code_book(weight, bits, config.clipping, config.per_channel, config.percentile, config.asymmetric_weights)


def _set_weights_(
    layer: QuantizedConv,
    weight: Float[Tensor, "rro j_group kh kw"],
    config: QuantizationConfig,
    moments: Float64[Tensor, "2 g k k"] | None,
) -> None:
    """Set the weights of an empty layer, quantized or in floats."""
    if layer.weight_bits is None or layer.weight_scale is None:
        layer.weight.copy_(weight)
        return
    book = _book(weight, layer.weight_bits, config)
    if moments is None:
        layer.weight.copy_(book.round(weight))
    else:
        layer.weight.copy_(
            _round_tested(weight, book, moments, round_adaptive if config.adaptive else round_compensated)
        )
    layer.weight_scale.copy_(book.scale)


def _round_tested(
    weight: Float[Tensor, "rro j_group kh kw"],
    book: CodeBook,
    halves: Float64[Tensor, "2 g k k"],
    rounding: Callable[[Tensor, CodeBook, Tensor], Tensor],
) -> Real[Tensor, "rro j_group kh kw"]:
    """Round by moments, unless that only fits the inputs from which they were computed.

    A layer with K weights per output has K^2 moments, which fewer than K calibration patches cannot estimate. So the
    weights rounded with one half of the inputs must have less error than nearest rounding on the other half.
    """
    if bool(halves[1].any()):
        trial, nearest = rounding(weight, book, halves[0]), book.round(weight)
        errors = [_output_error(codes, weight, book, halves[1]) for codes in (trial, nearest)]
        if errors[0] >= errors[1]:
            return nearest
    return rounding(weight, book, halves.sum(0))


def _output_error(
    codes: Real[Tensor, "rro j_group kh kw"],
    weight: Float[Tensor, "rro j_group kh kw"],
    book: CodeBook,
    moments: Float64[Tensor, "g k k"],
) -> float:
    error = (codes.flatten(1) * book.scale[:, None] - weight.flatten(1)).double()
    error = error.reshape(len(moments), -1, moments.shape[1])  # (G, O, K)
    return float(((error @ moments) * error).sum())


def _correct_biases_(prepared: Prepared, sites: tuple[Site, ...], layers: dict[str, QuantizedConv]) -> None:
    """Subtract each output channel's mean error on the calibration inputs from its bias (Nagel et al. 2019, section
    4.2).

    The error is that of the layer alone, with the inputs of the float generator, and within the range in which the next
    operator is not saturated, because quantized outputs do not represent values that a ReLU removes. Layers before an
    instance normalisation are not corrected, because it removes any constant.
    """
    corrected = {site.name: site for site in sites if site.follower != "instance_norm"}
    totals: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def look(name: str, source: Float[Tensor, "n i h w"], wanted: Float[Tensor, "n o h_out w_out"]) -> None:
        found = layers[name].run_maps(source)
        if layers[name].target is not None:
            found, wanted = (told_apart(one, corrected[name]) for one in (found, wanted))
        totals[name] = totals.get(name, torch.zeros(())) + (wanted - found).double().sum((0, 2, 3))
        counts[name] = counts.get(name, 0) + wanted[:, 0].numel()

    run_hooked(prepared.plain.network, tuple(corrected.values()), lambda: iter(batches_of(prepared.inputs)), look)
    for name, total in totals.items():
        layers[name].bias.add_(layers[name].phases((total / counts[name]).float()))
