"""Prepares a generator for quantization: its layers as plain convolutions, with folded batch normalisations."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.structure.input_checks import check_inputs
from ganpress.structure.surgery import plain_convolution
from models.quantized_network import QuantizedNetwork


@dataclass(frozen=True)
class Prepared:
    """A generator prepared for quantization."""

    model: nn.Module
    """The generator as it was trained, in eval mode."""
    plain: QuantizedNetwork
    """The same generator in floats, with folded batch normalisations and every layer a plain convolution."""
    sites: tuple[Site, ...]
    inputs: Tensor
    """Calibration inputs (N, …)."""


@torch.no_grad()
def prepare(model: nn.Module, inputs: Float[Tensor, "n ..."]) -> Prepared:
    """Find a generator's layers and rewrite them as plain convolutions.

    Raises:
        ConfigError: if there are no inputs, they do not fit the generator, it cannot be traced, or nothing in it can be
            quantized.
    """
    model = copy.deepcopy(model).eval()
    check_inputs(model, inputs, "calibration inputs")
    sites = find_sites(model, inputs[:1])
    names, pixels = (tuple(site.name for site in some) for some in (sites, [one for one in sites if one.pixel]))
    contained = tuple(name for site in sites for name in site.folded)
    plain = QuantizedNetwork(copy.deepcopy(model), names, contained, None, None, pixels=pixels)
    for site in sites:
        norm = None if site.norm is None else model.get_submodule(site.norm)
        shift = None if site.shift is None else model.get_parameter(site.shift)
        weight, bias = plain_convolution(model.get_submodule(site.name), norm, shift, site.pixel)
        plain.quantized_layer(site.name).weight.copy_(weight)
        plain.quantized_layer(site.name).bias.copy_(bias)
    return Prepared(model, plain, sites, inputs)
