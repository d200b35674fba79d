"""Assembles a quantized generator from its quantized layers."""

import copy

from ganpress.compression.preparation.plain_layers import Prepared
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.data.prepared.generator_inputs import inputs_digest
from models.quantized import CalibrationRecord
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork


def assemble(
    prepared: Prepared,
    layers: dict[str, QuantizedConv],
    config: QuantizationConfig,
    seed: int | None = None,
    layer_bits: dict[str, int] | None = None,
) -> QuantizedNetwork:
    """Put quantized layers into a copy of their generator; other layers stay as they were trained."""
    sites = [site for site in prepared.sites if site.name in layers]
    record = CalibrationRecord(prepared.inputs.shape[0], inputs_digest(prepared.inputs), seed)
    quantized = QuantizedNetwork(
        copy.deepcopy(prepared.model),
        tuple(site.name for site in sites),
        tuple(name for site in sites for name in site.folded),
        config.weight_bits,
        config.activation_bits,
        record,
        config.channel_inputs,
        {name: bits for name, bits in (layer_bits or {}).items() if name in layers and bits != config.weight_bits},
        {name: layer.repeated for name, layer in layers.items() if layer.repeated},
        tuple(site.name for site in sites if site.pixel),
    )
    for site in sites:
        quantized.quantized_layer(site.name).load_state_dict(layers[site.name].state_dict())
    return quantized.eval()
