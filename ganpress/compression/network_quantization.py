"""Quantization of any generator, layer by layer (Mordido et al.): convolutions in integers, the rest in floats."""

import copy
import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ganpress.compression.activations import LayerRanges, measure_ranges, run_hooked
from ganpress.compression.calibration import inputs_digest
from ganpress.compression.clipping import BITS
from ganpress.compression.compensation import patch_moments, round_compensated
from ganpress.compression.histograms import affine
from ganpress.compression.rounding import QuantizationConfig, quantize_weight, weight_scale
from ganpress.compression.sensitivity import choose_bits, choose_float_layers, scan_layers
from ganpress.compression.sites import Site, find_sites
from ganpress.errors import ConfigError
from ganpress.fidelity import batches_of
from ganpress.surgery import plain_convolution
from models.quantized import ActivationQuantizer, CalibrationRecord
from models.quantized_layers import InputQuantizer, QuantizedConv, empty_layer
from models.quantized_network import QuantizedNetwork

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A generator ready to be rounded."""

    model: nn.Module
    """In eval mode, as it was trained."""
    plain: QuantizedNetwork
    """The same in floats: batch normalisations folded, every layer a plain convolution."""
    sites: tuple[Site, ...]
    inputs: Tensor
    """Calibration inputs (N, …)."""


@torch.no_grad()
def quantize_network(
    model: nn.Module, inputs: Tensor, config: QuantizationConfig, seed: int | None = None
) -> QuantizedNetwork:
    """Quantize a trained generator of any architecture after training.

    Batch normalisations that follow a layer are folded into it, transposed convolutions become plain ones, and the
    layers' ranges are measured on `inputs`.

    Args:
        model: a trained generator of one tensor; it is left as it is.
        inputs: calibration inputs (N, …), N >= 1.
        config: bit widths and how codes are chosen.
        seed: the seed that drew `inputs`, kept in the record.

    Raises:
        ConfigError: if there are no inputs, they do not fit the generator, it cannot be traced, nothing in it can be
            quantized, or an activation is not finite.
    """
    prepared = prepare(model, inputs)
    layer_bits = mixed_widths(prepared, config) if config.mean_weight_bits is not None else None
    layers = round_layers(prepared, config, layer_bits)
    if config.min_snr_db is not None:
        some = batches_of(inputs)[0]
        scan = scan_layers(prepared.plain, layers, some)
        floats = choose_float_layers(prepared.plain, layers, scan, some, config.min_snr_db)
        layers = {name: layer for name, layer in layers.items() if name not in floats}
        if not layers:
            raise ConfigError(
                f"no layer can be rounded within {config.min_snr_db} dB; lower min_snr_db or take more bits"
            )
    return assemble(prepared, layers, config, seed, layer_bits)


@torch.no_grad()
def scan_widths(prepared: Prepared, config: QuantizationConfig) -> dict[str, dict[int, float]]:
    """Measure the noise of each layer's weights alone, activations in floats, for each width up to `weight_bits`.

    Returns:
        layer -> width -> power of the images' change as a share of their power.
    """
    some = batches_of(prepared.inputs)[0]
    found: dict[str, dict[int, float]] = {site.name: {} for site in prepared.sites}
    for bits in range(BITS[0], (config.weight_bits or BITS[-1]) + 1):
        alone = replace(config, weight_bits=bits, activation_bits=None, channel_inputs=False, mean_weight_bits=None)
        for one in scan_layers(prepared.plain, round_layers(prepared, alone), some):
            found[one.layer][bits] = one.noise
    return found


def mixed_widths(prepared: Prepared, config: QuantizationConfig) -> dict[str, int]:
    """Choose the width of each layer's weights by a scan, with the mean over all weights that `config` asks for."""
    weights = {site.name: prepared.plain.quantized_layer(site.name).weight.numel() for site in prepared.sites}
    budget = int((config.mean_weight_bits or BITS[-1]) * sum(weights.values()))
    return choose_bits(scan_widths(prepared, config), weights, budget)


@torch.no_grad()
def prepare(model: nn.Module, inputs: Tensor) -> Prepared:
    """Find a generator's layers and rewrite them as plain convolutions.

    Raises:
        ConfigError: see `quantize_network`.
    """
    model = copy.deepcopy(model).eval()
    _check_inputs(model, inputs)
    sites = find_sites(model, inputs[:1])
    names = tuple(site.name for site in sites)
    folded = tuple(site.norm for site in sites if site.norm is not None)
    plain = QuantizedNetwork(copy.deepcopy(model), names, folded, None, None)
    for site in sites:
        norm = None if site.norm is None else model.get_submodule(site.norm)
        weight, bias = plain_convolution(model.get_submodule(site.name), norm)
        plain.quantized_layer(site.name).weight.copy_(weight)
        plain.quantized_layer(site.name).bias.copy_(bias)
    return Prepared(model, plain, sites, inputs)


@torch.no_grad()
def round_layers(
    prepared: Prepared, config: QuantizationConfig, layer_bits: dict[str, int] | None = None
) -> dict[str, QuantizedConv]:
    """Make the rounded form of every layer that can have one, in the order in which they run.

    Args:
        prepared: the generator.
        config: bit widths and how codes are chosen.
        layer_bits: width of the weights of layers for which it is not `config.weight_bits`.

    Raises:
        ConfigError: if an activation is not finite.
    """
    sites, plain = prepared.sites, prepared.plain
    ranges: dict[str, LayerRanges] = {}
    if config.activation_bits is not None:
        ranges = measure_ranges(plain.network, sites, lambda: iter(batches_of(prepared.inputs)), config)
        if config.min_snr_db is None:
            sites = tuple(site for site in sites if not _has_outliers(site, ranges[site.name], config.max_crest))
    layers = {}
    for site in sites:
        bits = (layer_bits or {}).get(site.name, config.weight_bits)
        original = prepared.model.get_submodule(site.name)
        layers[site.name] = empty_layer(original, bits, config.activation_bits, config.channel_inputs)
        if site.name in ranges:
            _set_ranges_(layers[site.name], ranges[site.name])
    moments = _moments(prepared, sites, layers) if config.compensated and config.weight_bits is not None else {}
    for name, layer in layers.items():
        _set_weights_(layer, plain.quantized_layer(name), config, moments.get(name))
        if name in ranges and layer.target is not None:
            layer.bias.sub_(layer.phases(ranges[name].centre))
    return layers


def assemble(
    prepared: Prepared,
    layers: dict[str, QuantizedConv],
    config: QuantizationConfig,
    seed: int | None = None,
    layer_bits: dict[str, int] | None = None,
) -> QuantizedNetwork:
    """Put rounded layers into a copy of their generator; the others stay as they were trained."""
    sites = [site for site in prepared.sites if site.name in layers]
    record = CalibrationRecord(prepared.inputs.shape[0], inputs_digest(prepared.inputs), seed)
    quantized = QuantizedNetwork(
        copy.deepcopy(prepared.model),
        tuple(site.name for site in sites),
        tuple(site.norm for site in sites if site.norm is not None),
        config.weight_bits,
        config.activation_bits,
        record,
        config.channel_inputs,
        layer_bits,
    )
    for site in sites:
        quantized.quantized_layer(site.name).load_state_dict(layers[site.name].state_dict())
    return quantized.eval()


def _has_outliers(site: Site, ranges: LayerRanges, max_crest: float) -> bool:
    return site.follower == "instance_norm" and ranges.crest > max_crest


def _check_inputs(model: nn.Module, inputs: Tensor) -> None:
    if inputs.dim() < 2 or inputs.shape[0] == 0:
        raise ConfigError(f"calibration inputs must be (N, …) with N >= 1, found {tuple(inputs.shape)}")
    try:
        model(inputs[:1])
    except (RuntimeError, ValueError, IndexError) as error:
        found, reason = tuple(inputs.shape), " ".join(str(error).split())[:200]
        raise ConfigError(f"calibration inputs {found} do not fit {type(model).__name__}: {reason}") from None


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
    """Give each input channel its codes; padded zeros must have the same code in all of them."""
    if ranges.picture and not pads_zeros and source.bits == 8:
        source.scale.fill_(2 / 255)
        source.offset.fill_(-1.0)
        return
    found = ranges.source
    signed = bool((found.low < 0).any())
    scale, zero_point = affine(found.balanced() if pads_zeros and signed else found, source.bits)
    if pads_zeros and signed:
        zero_point.fill_(2 ** (source.bits - 1))  # a channel without values would have none
    source.scale.copy_(scale)
    source.zero_point.copy_(zero_point)
    source.kernel_zero.fill_(2 ** (source.bits - 1) if signed else 0)


def _moments(prepared: Prepared, sites: tuple[Site, ...], layers: dict[str, QuantizedConv]) -> dict[str, Tensor]:
    """Second moments of what each layer's rounded weights will be multiplied with, on the calibration inputs."""
    found: dict[str, Tensor] = {}
    centred = {site.name: site.follower == "instance_norm" for site in sites}

    def look(name: str, source: Tensor, _: Tensor) -> None:
        layer = layers[name]
        if isinstance(layer.source, InputQuantizer):  # the kernel sees codes
            source = layer.source.encode(source) - layer.source.kernel_zero
        moments = patch_moments(source, layer.geometry, centred[name])
        found[name] = found[name] + moments if name in found else moments

    run_hooked(prepared.plain.network, sites, lambda: iter(batches_of(prepared.inputs)), look)
    return found


def _set_weights_(
    layer: QuantizedConv, plain: QuantizedConv, config: QuantizationConfig, moments: Tensor | None
) -> None:
    """Fill an empty layer with the codes of its float form."""
    weight = plain.weight
    layer.bias.copy_(plain.bias)
    if layer.weight_bits is None or layer.weight_scale is None:
        layer.weight.copy_(weight)
        return
    if isinstance(layer.source, InputQuantizer):
        layer.bias.add_((weight * layer.of_inputs(layer.source.shift)).sum((1, 2, 3)))
        weight = weight * layer.of_inputs(layer.source.scale)
    choice = (layer.weight_bits, config.clipping, config.per_channel, config.percentile)
    if moments is None:
        codes, scale = quantize_weight(weight, *choice)
    else:
        scale = weight_scale(weight, *choice)
        codes = round_compensated(weight, scale, moments, layer.weight_bits)
    layer.weight.copy_(codes)
    layer.weight_scale.copy_(scale)
