"""Post-training linear quantization of weights and activations, without fine-tuning (Mordido et al.)."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ganpress.compression.calibration import ActivationRange, calibrate, latents_digest
from ganpress.errors import ConfigError
from ganpress.surgery import deployable
from models.builders import Blueprint
from models.quantized import ActivationQuantizer, CalibrationRecord, QuantizedGenerator, QuantizedLayer

BITS = range(2, 9)


@dataclass(frozen=True)
class QuantizationConfig:
    """Bit widths; None leaves floats. Runtimes have integer kernels where both are set.

    On x86 processors without VNNI instructions 8-bit weights can overflow the 16-bit sums of the runtime's kernels; the
    verification of the export catches that, and `weight_bits=7` avoids it.
    """

    weight_bits: int | None
    """Symmetric, per output channel."""
    activation_bits: int | None
    """Asymmetric, per tensor, range from calibration."""

    def __post_init__(self) -> None:
        for name, bits in (("weight_bits", self.weight_bits), ("activation_bits", self.activation_bits)):
            if bits is not None and bits not in BITS:
                raise ConfigError(f"{name} must be {BITS[0]} to {BITS[-1]}, or null for floats, found {bits}")
        if self.weight_bits is None and self.activation_bits is None:
            raise ConfigError("quantization needs weight_bits, activation_bits or both; both are null")


def quantize(
    model: nn.Module, z_calibration: Tensor, config: QuantizationConfig, seed: int | None = None
) -> QuantizedGenerator:
    """Quantize a trained generator after training.

    Args:
        model: a trained, possibly pruned W-DCGAN generator.
        z_calibration: latents (N, Z) that the activation ranges are measured on.
        config: bit widths.
        seed: the seed that drew `z_calibration`, kept in the record.

    Returns:
        A generator in eval mode that computes in integers; `quantized_blueprint` names it for a model file.

    Raises:
        ConfigError: if the architecture cannot be quantized, or the latents do not fit it.
    """
    edge = deployable(model)
    ranges = calibrate(edge, z_calibration)
    record = CalibrationRecord(z_calibration.shape[0], latents_digest(z_calibration), seed)
    bits = config.weight_bits, config.activation_bits
    quantized = QuantizedGenerator(edge.latent, edge.widths, edge.channels, *bits, calibration=record)
    for quantizer, observed in zip(quantized.activation_quantizers(), ranges, strict=False):
        _set_range_(quantizer, observed)
    for layer, conv in zip(quantized.quantized_layers(), edge.convs, strict=True):
        _set_weights_(layer, conv.get_parameter("weight").detach(), conv.get_parameter("bias").detach())
    return quantized.eval()


def quantized_blueprint(generator: QuantizedGenerator) -> Blueprint:
    """What rebuilds `generator`, its calibration record included."""
    return Blueprint(
        "quantized_wdcgan",
        {
            "latent": generator.latent,
            "widths": generator.widths,
            "channels": generator.channels,
            "weight_bits": generator.weight_bits,
            "activation_bits": generator.activation_bits,
            "calibration": asdict(generator.calibration) if generator.calibration else None,
        },
    )


def quantize_weight(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Round weights to symmetric codes, one scale for each output channel.

    Args:
        weight: (O, …) float.
        bits: 2 to 8; codes lie in -(2^(bits-1) - 1) … 2^(bits-1) - 1, so that zero is exact and the signs balance.

    Returns:
        Codes (O, …) int8 and scales (O,) float32; real = code * scale.
    """
    highest_code = 2 ** (bits - 1) - 1
    largest = weight.abs().flatten(1).amax(1)
    scale = torch.where(largest > 0, largest, 1.0) / highest_code  # a channel of zeros keeps a usable scale
    shape = (-1, *(1,) * (weight.dim() - 1))
    codes = torch.round(weight / scale.view(shape)).clamp(-highest_code, highest_code)
    return codes.to(torch.int8), scale


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


def _set_weights_(layer: QuantizedLayer, weight: Tensor, bias: Tensor) -> None:
    layer.bias.copy_(bias)
    if layer.weight_bits is None or layer.weight_scale is None:
        layer.weight.copy_(weight)
        return
    codes, scale = quantize_weight(weight, layer.weight_bits)
    layer.weight.copy_(codes)
    layer.weight_scale.copy_(scale)
