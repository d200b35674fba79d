"""Quantization of any generator, layer by layer (Mordido et al.): convolutions in integers, the rest in floats."""

import copy

import torch
from torch import Tensor, nn

from ganpress.compression.activations import LayerRanges, affine, measure_ranges
from ganpress.compression.calibration import inputs_digest
from ganpress.compression.rounding import QuantizationConfig, quantize_weight
from ganpress.compression.sites import Site, find_sites
from ganpress.errors import ConfigError
from ganpress.fidelity import batches_of
from ganpress.surgery import plain_convolution
from models.quantized import CalibrationRecord
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork


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
        config: bit widths and clipping.
        seed: the seed that drew `inputs`, kept in the record.

    Raises:
        ConfigError: if there are no inputs, they do not fit the generator, it cannot be traced, nothing in it can be
            quantized, or an activation is not finite.
    """
    model = copy.deepcopy(model).eval()
    _check_inputs(model, inputs)
    sites = find_sites(model, inputs[:1])
    names = tuple(site.name for site in sites)
    folded = tuple(site.norm for site in sites if site.norm is not None)
    plain = QuantizedNetwork(copy.deepcopy(model), names, folded, None, None)  # the same in floats
    for site in sites:
        norm = None if site.norm is None else model.get_submodule(site.norm)
        weight, bias = plain_convolution(model.get_submodule(site.name), norm)
        plain.quantized_layer(site.name).weight.copy_(weight)
        plain.quantized_layer(site.name).bias.copy_(bias)
    ranges: dict[str, LayerRanges] = {}
    if config.activation_bits is not None:
        bits, clipping = config.activation_bits, config.clipping
        ranges = measure_ranges(plain.network, sites, lambda: iter(batches_of(inputs)), bits, clipping)
        sites = tuple(site for site in sites if not _has_outliers(site, ranges[site.name], config.max_crest))
        names = tuple(site.name for site in sites)
    record = CalibrationRecord(inputs.shape[0], inputs_digest(inputs), seed)
    quantized = QuantizedNetwork(model, names, folded, config.weight_bits, config.activation_bits, record)
    for name in names:
        _quantize_layer_(quantized.quantized_layer(name), plain.quantized_layer(name), ranges.get(name))
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


def _quantize_layer_(layer: QuantizedConv, plain: QuantizedConv, ranges: LayerRanges | None) -> None:
    """Fill an empty quantized layer with the codes of its float form."""
    layer.bias.copy_(plain.bias)
    if layer.weight_bits is None or layer.weight_scale is None:
        layer.weight.copy_(plain.weight)
    else:
        codes, weight_scale = quantize_weight(plain.weight, layer.weight_bits)
        layer.weight.copy_(codes)
        layer.weight_scale.copy_(weight_scale)
    if ranges is not None and layer.source is not None:
        scale, zero_point = affine(ranges.source, layer.source.bits)
        layer.source.scale.copy_(scale[0])
        layer.source.zero_point.copy_(zero_point[0])
    if ranges is not None and layer.target is not None:
        layer.bias.sub_(layer.phases(ranges.centre))
        scale, zero_point = affine(ranges.target, layer.target.bits)
        layer.target.scale.copy_(scale)
        layer.target.zero_point.copy_(zero_point)
