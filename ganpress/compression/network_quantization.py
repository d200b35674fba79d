"""Quantization of any generator, layer by layer (Mordido et al.): convolutions in integers, the rest in floats."""

import logging
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.rounding.assembly import assemble
from ganpress.compression.rounding.layer_rounding import round_layers
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.compression.widths.mixed_precision import widths_of_mean
from ganpress.compression.widths.sensitivity import choose_float_layers, scan_layers
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import batches_of
from models.quantized_network import QuantizedNetwork

logger = logging.getLogger(__name__)

SHARE_UNSEEN = 4
"""One in this number of calibration inputs is not used for ranges if a fidelity is required."""


@torch.no_grad()
def quantize_network(
    model: nn.Module, inputs: Float[Tensor, "n ..."], config: QuantizationConfig, seed: int | None = None
) -> QuantizedNetwork:
    """Quantize a trained generator of any architecture after training.

    Batch normalisations after a layer are folded into it, transposed convolutions become plain ones, and the layers'
    ranges are measured on `inputs`.

    Args:
        model: a trained generator of one tensor; it is not changed.
        inputs: calibration inputs, at least one.
        config: bit widths and settings of rounding.
        seed: the seed that drew `inputs`, kept in the record.

    Raises:
        ConfigError: if there are no inputs, they do not fit the generator, it cannot be traced, nothing in it can be
            quantized, or an activation is not finite.
    """
    prepared = prepare(model, inputs)
    layer_bits = widths_of_mean(prepared, config) if config.mean_weight_bits is not None else None
    if config.min_snr_db is None:
        return assemble(prepared, round_layers(prepared, config, layer_bits), config, seed, layer_bits)
    seen, unseen = hold_out(inputs)
    layers = round_layers(replace(prepared, inputs=seen), config, layer_bits)
    some = batches_of(unseen)[0]
    scan = scan_layers(prepared.plain, layers, some)
    floats = choose_float_layers(prepared.plain, layers, scan, some, config.min_snr_db)
    layers = {name: layer for name, layer in layers.items() if name not in floats}
    if not layers:
        raise ConfigError(f"no layer can be rounded within {config.min_snr_db} dB; lower min_snr_db or take more bits")
    logger.info("%d layers stay in floats: %s", len(floats), ", ".join(floats))
    return assemble(prepared, layers, config, seed, layer_bits)


def hold_out(inputs: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "n_ranges ..."], Float[Tensor, "n_held_out ..."]]:
    """Split inputs into those for the ranges, and the last quarter for the fidelity.

    Inputs that were used for the ranges are never clipped, so their images are several decibels nearer than those of
    other inputs. A single input is used for both.
    """
    count = len(inputs) // SHARE_UNSEEN
    return (inputs[:-count], inputs[-count:]) if count else (inputs, inputs)
