"""Individual bit widths of layers: a scan over layers and bits, and the choice under a budget of bits or packed
bytes.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.packed.packing import coded_bytes, packed
from ganpress.compression.packed.quantized_blueprint import quantized_blueprint
from ganpress.compression.preparation.plain_layers import Prepared, prepare
from ganpress.compression.ranges.clipping import BITS
from ganpress.compression.rounding.assembly import assemble
from ganpress.compression.rounding.layer_rounding import round_layers
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.compression.widths.sensitivity import choose_bits, scan_layers
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import batches_of
from models.builders import Blueprint
from models.quantized_network import QuantizedNetwork

logger = logging.getLogger(__name__)

Kind = Literal["weights", "activations"]
TRIES = 8
"""Number of choices whose file is measured; each lowers the budget by the excess of the last one."""


@dataclass(frozen=True)
class WidthScan:
    """The sensitivity of each layer at each bit width, with the other layers in floats."""

    noise: Mapping[str, Mapping[int, float]]
    """Layer -> bits -> power of the images' change as a share of their power."""
    size_bytes: Mapping[str, Mapping[int, int]]
    """Layer -> bits -> bytes of its weights in a packed file; empty in a scan of activations."""
    macs: Mapping[str, int]
    """Layer -> multiplications for one input."""


@torch.no_grad()
def scan_widths(prepared: Prepared, config: QuantizationConfig, kind: Kind = "weights") -> WidthScan:
    """Measure every layer alone at each width, from 2 bits to those of `config`, or to 8 if it has none.

    Args:
        prepared: the generator.
        config: settings of rounding; compensated rounding, which takes seconds, replaces adaptive rounding.
        kind: whether weights or activations are quantized; the others stay in floats.
    """
    some = batches_of(prepared.inputs)[0]
    noise: dict[str, dict[int, float]] = {site.name: {} for site in prepared.sites}
    sizes: dict[str, dict[int, int]] = {site.name: {} for site in prepared.sites}
    macs: dict[str, int] = {}
    widest = config.weight_bits if kind == "weights" else config.activation_bits
    for bits in range(BITS[0], (widest or BITS[-1]) + 1):
        layers = round_layers(prepared, _alone(config, kind, bits))
        for one in scan_layers(prepared.plain, layers, some):
            noise[one.layer][bits], macs[one.layer] = one.noise, one.macs
            if kind == "weights":
                sizes[one.layer][bits] = coded_bytes(layers[one.layer].weight, bits)
    return WidthScan(noise, sizes, macs)


def _alone(config: QuantizationConfig, kind: Kind, bits: int) -> QuantizationConfig:
    config = replace(config, channel_inputs=False, mean_weight_bits=None, min_snr_db=None)
    if kind == "activations":
        plain = replace(config, asymmetric_weights=False, compensated=False, adaptive=False, split_share=0.0)
        return replace(plain, weight_bits=None, activation_bits=bits, max_crest=float("inf"))
    careful = config.compensated or config.adaptive
    return replace(config, weight_bits=bits, activation_bits=None, compensated=careful, adaptive=False)


@torch.no_grad()
def widths_of_mean(prepared: Prepared, config: QuantizationConfig) -> dict[str, int]:
    """Choose the width of each layer's weights, with the mean over all weights from `config`."""
    weights = {site.name: prepared.plain.quantized_layer(site.name).weight.numel() for site in prepared.sites}
    scan = scan_widths(prepared, config)
    costs = {name: {bits: bits * weights[name] for bits in widths} for name, widths in scan.noise.items()}
    budget = int((config.mean_weight_bits or BITS[-1]) * sum(weights.values()))
    return choose_bits(scan.noise, costs, budget)


@torch.no_grad()
def quantize_within(
    model: nn.Module,
    base: Blueprint,
    inputs: Float[Tensor, "n ..."],
    config: QuantizationConfig,
    max_bytes: int,
    seed: int | None = None,
) -> QuantizedNetwork:
    """Quantize with the widths of least error whose packed file has at most `max_bytes`.

    Args:
        model: a trained generator; it is not changed.
        base: its blueprint, which is part of the file.
        inputs: calibration inputs.
        config: settings of rounding; `weight_bits` is the largest width.
        max_bytes: largest size of the packed file (`ganpress.compression.packed.packing`).
        seed: the seed that drew the calibration inputs, kept in the record.

    Raises:
        ConfigError: if the file is larger with the fewest bits everywhere, or the generator cannot be quantized.
    """
    if config.weight_bits is None or config.mean_weight_bits is not None or config.min_snr_db is not None:
        raise ConfigError("max_bytes chooses widths itself: it needs weight_bits, no mean_weight_bits, no min_snr_db")
    prepared = prepare(model, inputs)
    scan, budget = scan_widths(prepared, config), max_bytes
    least = sum(min(widths.values()) for widths in scan.size_bytes.values())
    for _ in range(TRIES):
        chosen = choose_bits(scan.noise, scan.size_bytes, max(budget, least))
        network = assemble(prepared, round_layers(prepared, config, chosen), config, seed, chosen)
        size = len(packed(network, quantized_blueprint(network, base)))
        logger.info("%d bytes of %d allowed at widths %s", size, max_bytes, sorted(set(chosen.values())))
        if size <= max_bytes:
            return network
        if budget <= least:
            break
        spent = sum(scan.size_bytes[name][bits] for name, bits in chosen.items())
        budget = spent - (size - max_bytes)  # only of weights: the rest of the file has the same size with any widths
    raise ConfigError(
        f"max_bytes is {max_bytes:,}, but the smallest packed file found has {size:,} bytes, of which {least:,} are "
        f"weights of {BITS[0]} bits; allow more, or prune channels first (width)"
    )
