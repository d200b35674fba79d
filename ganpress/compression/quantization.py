"""Post-training linear quantization of weights and activations, without fine-tuning (Mordido et al.)."""

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn

from ganpress.compression.calibration import ActivationRange, calibrate, inputs_digest
from ganpress.compression.network_quantization import quantize_network
from ganpress.compression.rounding import QuantizationConfig, quantize_weight
from ganpress.errors import ConfigError
from ganpress.surgery import deployable
from models.builders import Blueprint
from models.edge_wdcgan import EdgeWdcgan, FoldedWdcgan
from models.families import Argument
from models.quantized import ActivationQuantizer, CalibrationRecord, QuantizedGenerator, QuantizedLayer
from models.quantized_network import Quantized, QuantizedNetwork
from models.wdcgan import WdcganGenerator

__all__ = ["QuantizationConfig", "quantize", "quantized_blueprint", "range_to_affine"]


def quantize(model: nn.Module, inputs: Tensor, config: QuantizationConfig, seed: int | None = None) -> Quantized:
    """Quantize a trained generator after training.

    W-DCGAN generators become integers from the first layer to the last. Of any other generator the convolutions and
    linear layers do; what lies between them stays in floats.

    Args:
        model: a trained, possibly pruned generator of one tensor.
        inputs: calibration inputs (N, …) that the activation ranges are measured on.
        config: bit widths and clipping.
        seed: the seed that drew `inputs`, kept in the record.

    Returns:
        A generator in eval mode that computes in integers; `quantized_blueprint` names it for a model file.

    Raises:
        ConfigError: if it is quantized already, the architecture cannot be quantized, or the inputs do not fit it.
    """
    if isinstance(model, Quantized):
        raise ConfigError(f"a {type(model).__name__} is quantized already; quantize the generator that it was made of")
    if isinstance(model, WdcganGenerator | FoldedWdcgan | EdgeWdcgan):
        _check_for_wdcgan(config)
        return _quantize_wdcgan(deployable(model), inputs, config, seed)
    return quantize_network(model, inputs, config, seed)


def _check_for_wdcgan(config: QuantizationConfig) -> None:
    wanted = [
        name for name in ("channel_inputs", "compensated", "mean_weight_bits", "min_snr_db") if getattr(config, name)
    ]
    if wanted:
        raise ConfigError(
            f"W-DCGAN generators pass integers from layer to layer and have no option {', '.join(wanted)}; leave it out"
        )


def quantized_blueprint(generator: Quantized, base: Blueprint) -> Blueprint:
    """What rebuilds `generator`, its calibration record included.

    Args:
        generator: a quantized generator.
        base: what rebuilds the float generator that it was made of.
    """
    record = asdict(generator.calibration) if generator.calibration else None
    bits: dict[str, Argument] = {"weight_bits": generator.weight_bits, "activation_bits": generator.activation_bits}
    if isinstance(generator, QuantizedNetwork):
        layers, folded = list(generator.layers), list(generator.folded)
        own: dict[str, Argument] = {
            "base": {"builder": base.builder, "arguments": base.arguments},
            "layers": [*layers],
            "folded": [*folded],
        }
        if generator.channel_inputs:
            own["channel_inputs"] = True
        if generator.layer_bits:
            own["layer_bits"] = {**generator.layer_bits}
        return Blueprint("quantized", {**own, **bits, "calibration": record})
    shape: dict[str, Argument] = {
        "latent": generator.latent,
        "widths": [*generator.widths],
        "channels": generator.channels,
    }
    return Blueprint("quantized_wdcgan", {**shape, **bits, "calibration": record})


@torch.no_grad()
def _quantize_wdcgan(edge: EdgeWdcgan, z: Tensor, config: QuantizationConfig, seed: int | None) -> QuantizedGenerator:
    ranges = calibrate(edge, z, config)
    record = CalibrationRecord(z.shape[0], inputs_digest(z), seed)
    bits = config.weight_bits, config.activation_bits
    quantized = QuantizedGenerator(edge.latent, edge.widths, edge.channels, *bits, calibration=record)
    for quantizer, observed in zip(quantized.activation_quantizers(), ranges, strict=False):
        _set_range_(quantizer, observed)
    for layer, conv in zip(quantized.quantized_layers(), edge.convs, strict=True):
        _set_weights_(layer, conv.get_parameter("weight").detach(), conv.get_parameter("bias").detach(), config)
    return quantized.eval()


def range_to_affine(observed: ActivationRange, bits: int) -> tuple[float, int]:
    """Scale and zero point of the affine codes 0 … 2^bits - 1 that cover a range; zero is exact."""
    highest_code = 2**bits - 1
    width = observed.high - observed.low
    scale = np.float32(width / highest_code) if width > 0 else np.float32(1)
    return float(scale), round(-observed.low / float(scale))


def _set_range_(quantizer: ActivationQuantizer, observed: ActivationRange) -> None:
    scale, zero_point = range_to_affine(observed, quantizer.bits)
    quantizer.scale.fill_(scale)
    quantizer.zero_point.fill_(min(zero_point, quantizer.highest_code))


def _set_weights_(layer: QuantizedLayer, weight: Tensor, bias: Tensor, config: QuantizationConfig) -> None:
    layer.bias.copy_(bias)
    if layer.weight_bits is None or layer.weight_scale is None:
        layer.weight.copy_(weight)
        return
    codes, scale = quantize_weight(weight, layer.weight_bits, config.clipping, config.per_channel, config.percentile)
    layer.weight.copy_(codes)
    layer.weight_scale.copy_(scale)
