"""Post-training linear quantization of weights and activations, without fine-tuning (Mordido et al.)."""

import numpy as np
import torch
from torch import Tensor, nn

from ganpress.compression.network_quantization import quantize_network
from ganpress.compression.packed.quantized_blueprint import quantized_blueprint
from ganpress.compression.ranges.calibration import ActivationRange, calibrate
from ganpress.compression.rounding.weight_codes import QuantizationConfig, code_book
from ganpress.data.prepared.generator_inputs import inputs_digest
from ganpress.errors import ConfigError
from ganpress.structure.surgery import deployable
from models.edge_wdcgan import EdgeWdcgan, FoldedWdcgan
from models.quantized import ActivationQuantizer, CalibrationRecord, QuantizedGenerator, QuantizedLayer
from models.quantized_network import Quantized
from models.wdcgan import WdcganGenerator

__all__ = ["QuantizationConfig", "quantize", "quantized_blueprint", "range_to_affine"]


def quantize(model: nn.Module, inputs: Tensor, config: QuantizationConfig, seed: int | None = None) -> Quantized:
    """Quantize a trained generator after training.

    W-DCGAN generators become integers from the first layer to the last. Of any other generator, and of those where an
    option asks for more than that form has, the convolutions and linear layers do; what lies between stays in floats.

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
    if isinstance(model, WdcganGenerator | FoldedWdcgan | EdgeWdcgan) and not config.layer_options:
        return _quantize_wdcgan(deployable(model), inputs, config, seed)
    return quantize_network(model, inputs, config, seed)


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
    choice = (config.clipping, config.per_channel, config.percentile, config.asymmetric_weights)
    book = code_book(weight, layer.weight_bits, *choice)
    layer.weight.copy_(book.round(weight))
    layer.weight_scale.copy_(book.scale)
