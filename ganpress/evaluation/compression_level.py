"""One level of post-training compression, measured as it is shipped: packed into a file and decoded again.

Mordido et al. (2021) study what each level costs in quality and in diversity. Every layer is quantized here, with the
same number of bits for weights and activations, so that the name of a level describes it fully;
`ganpress.compression.quantization` can do better by leaving the worst layers in floats.
"""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ganpress.compression.packed.packing import load_packed, save_packed
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.config.sweep_section import SweepPoint
from models.builders import Blueprint
from models.quantized_network import float_layers


@dataclass(frozen=True)
class PackedGenerator:
    """A generator as decoded from its packed file."""

    model: nn.Module
    """The decoded network in eval mode."""
    packed_bytes: int
    """Size of the packed file in bytes."""
    float_layers: int
    """Layers that have no integer form and remain in floats."""


def pack_float(model: nn.Module, blueprint: Blueprint) -> PackedGenerator:
    """Pack the generator that all levels are compared with; its weights are lossless.

    Args:
        model: in eval mode.
        blueprint: description from which it is rebuilt.
    """
    return _through_file(model, blueprint, 0)


def pack_level(
    model: nn.Module, blueprint: Blueprint, level: SweepPoint, calibration: Tensor, seed: int
) -> PackedGenerator:
    """Quantize a generator at one level and pack it.

    Args:
        model: a trained generator in floats; it is not changed.
        blueprint: description from which it is rebuilt.
        level: clipping method and bits, of weights and activations alike.
        calibration: inputs (N, …) on which the activation ranges are measured.
        seed: seed that drew them, recorded in the file.

    Raises:
        ConfigError: if it is already quantized, cannot be quantized, or the inputs do not fit it.
    """
    config = QuantizationConfig(
        level.bits, level.bits, clipping=level.clipping, activation_clipping=level.clipping, max_crest=math.inf
    )
    quantized = quantize(model, calibration, config, seed)
    return _through_file(quantized, quantized_blueprint(quantized, blueprint), len(float_layers(quantized)))


def _through_file(model: nn.Module, blueprint: Blueprint, layers_in_floats: int) -> PackedGenerator:
    with tempfile.TemporaryDirectory(prefix="ganpress-sweep-") as folder:
        path = Path(folder) / "generator.packed"
        save_packed(path, model, blueprint)
        decoded, _ = load_packed(path)
        return PackedGenerator(decoded, path.stat().st_size, layers_in_floats)
