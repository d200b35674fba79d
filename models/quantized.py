"""A W-DCGAN generator in integers, simulated exactly: it gives what a runtime's integer kernels give.

Codes are integers, reals are what they stand for. An activation is real = scale * (code - zero_point), per tensor; a
weight is real = scale * code, per output channel, codes stored as int8. A layer with both quantized multiplies and adds
integers and rounds once, half to even, as QLinearConv of the ONNX standard does.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.edge_wdcgan import DOUBLING, PROJECTION, DeployedWdcgan, SubpixelGeometry

FLOAT32_EXACT = 2**24
"""Integers up to here are exact in float32."""


@dataclass(frozen=True)
class CalibrationRecord:
    """The latents that the activation ranges were measured on."""

    count: int
    sha256: str
    """Of the latents' float32 bytes."""
    seed: int | None = None
    """Seed that drew them, where known."""


class ActivationQuantizer(nn.Module):
    """Affine rounding of one tensor to codes 0 … 2^bits - 1."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.uint8))

    @property
    def highest_code(self) -> int:
        return int(2**self.bits - 1)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest real that a code stands for."""
        zero_point, scale = int(self.zero_point), float(self.scale)
        return -zero_point * scale, (self.highest_code - zero_point) * scale

    @property
    def kernel_scale(self) -> Tensor:
        """What an integer kernel takes a step for."""
        return self.scale

    @property
    def kernel_zero(self) -> Tensor:
        """The code that an integer kernel takes for zero."""
        return self.zero_point

    def encode(self, real: Tensor) -> Tensor:
        """Reals -> codes, as whole numbers in float32."""
        return self.clamp(torch.round(real / self.scale))

    def clamp(self, steps: Tensor) -> Tensor:
        """Whole steps away from zero -> codes."""
        return (steps + self.zero_point).clamp(0, self.highest_code)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes -> reals."""
        return (codes - self.zero_point) * self.scale


class QuantizedLayer(nn.Module):
    """A sub-pixel layer whose weights are codes, or floats where `weight_bits` is None."""

    weight: Tensor
    weight_scale: Tensor | None
    bias: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, geometry: SubpixelGeometry, relu: bool, weight_bits: int | None
    ) -> None:
        super().__init__()
        self.geometry, self.relu, self.weight_bits = geometry, relu, weight_bits
        outputs = out_channels * geometry.factor**2
        shape = (outputs, in_channels, geometry.kernel, geometry.kernel)
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.float32 if weight_bits is None else torch.int8))
        self.register_buffer("weight_scale", None if weight_bits is None else torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    def real_weight(self) -> Tensor:
        """The weights that the codes stand for, (O, I, k, k)."""
        if self.weight_scale is None:
            return self.weight
        return self.weight * self.weight_scale[:, None, None, None]

    def forward(self, x: Tensor, source: ActivationQuantizer | None, target: ActivationQuantizer | None) -> Tensor:
        """Reals -> reals where `source` and `target` are None, else codes of `source` -> codes of `target`."""
        if source is None or target is None:
            y = self._convolve(x, self.real_weight(), self.bias)
        elif self.weight_scale is None:
            y = target.encode(self._convolve(source.decode(x), self.weight, self.bias))
        else:
            y = self._integer_convolve(x, source, target, self.weight_scale)
        return self.geometry.rearrange(y)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y = functional.conv2d(x, weight, bias, padding=self.geometry.padding)
        return functional.relu(y) if self.relu else y

    def _integer_convolve(
        self, codes: Tensor, source: ActivationQuantizer, target: ActivationQuantizer, weight_scale: Tensor
    ) -> Tensor:
        bias = torch.round(self.bias / (source.scale * weight_scale))  # in steps of the accumulator
        exact = self._exact_dtype(bias, source.highest_code)
        steps = (codes - source.zero_point).to(exact)
        total = self._convolve(steps, self.weight.to(exact), bias.to(exact))  # (N, O, H, W), whole numbers
        multiplier = source.scale * weight_scale / target.scale
        return target.clamp(torch.round(total.float() * multiplier[:, None, None]))

    def _exact_dtype(self, bias: Tensor, highest_code: int) -> torch.dtype:
        """float32 where no sum of this layer can leave its exact integers, else float64."""
        magnitudes = self.weight.to(torch.int64).abs()  # -128 has no magnitude in int8
        largest = magnitudes.sum((1, 2, 3)) * highest_code + bias.abs()
        return torch.float32 if float(largest.max()) < FLOAT32_EXACT else torch.float64


class QuantizedGenerator(DeployedWdcgan):
    """z (N, Z) -> images (N, C, H, W) in [-1, 1], through integers."""

    def __init__(
        self,
        latent: int,
        widths: list[int],
        channels: int,
        weight_bits: int | None,
        activation_bits: int | None,
        calibration: CalibrationRecord | None = None,
    ) -> None:
        super().__init__(latent, widths, channels)
        self.weight_bits, self.activation_bits, self.calibration = weight_bits, activation_bits, calibration
        self.layers = nn.ModuleList(
            QuantizedLayer(wide, narrow, DOUBLING if level else PROJECTION, level < len(widths), weight_bits)
            for level, (wide, narrow) in enumerate(pairwise([latent, *widths, channels]))
        )
        tensors = 0 if activation_bits is None else len(self.layers) + 1
        self.quantizers = nn.ModuleList(ActivationQuantizer(activation_bits or 0) for _ in range(tensors))

    @property
    def output_step(self) -> float:
        """Largest change of a pixel when the head's code changes by one; 0 where activations are floats."""
        quantizers = self.activation_quantizers()
        return float(quantizers[-1].scale) if quantizers else 0.0

    @property
    def activation_ranges(self) -> tuple[tuple[float, float], ...]:
        """Of the latents, then of each layer's output; the last is the head before tanh."""
        return tuple(quantizer.range for quantizer in self.activation_quantizers())

    def quantized_layers(self) -> list[QuantizedLayer]:
        """All layers, the head last."""
        return [layer for layer in self.layers if isinstance(layer, QuantizedLayer)]

    def activation_quantizers(self) -> list[ActivationQuantizer]:
        """Of the latents, then of each layer's output before its rearrangement; empty where activations are floats."""
        return [quantizer for quantizer in self.quantizers if isinstance(quantizer, ActivationQuantizer)]

    def forward(self, z: Tensor) -> Tensor:
        layers, quantizers = self.quantized_layers(), self.activation_quantizers()
        x = z[:, :, None, None]  # (N, Z, 1, 1)
        if not quantizers:
            for layer in layers:
                x = layer(x, None, None)
            return torch.tanh(x)
        x = quantizers[0].encode(x)
        for layer, (source, target) in zip(layers, pairwise(quantizers), strict=True):
            x = layer(x, source, target)
        return torch.tanh(quantizers[-1].decode(x))


def quantized_wdcgan(
    latent: int,
    widths: list[int],
    channels: int,
    weight_bits: int | None,
    activation_bits: int | None,
    calibration: dict[str, int | str | None] | None = None,
) -> QuantizedGenerator:
    """Build a quantized generator with empty weights; `calibration` are the fields of a `CalibrationRecord`."""
    record = None if calibration is None else CalibrationRecord(**calibration)  # type: ignore[arg-type]
    return QuantizedGenerator(latent, widths, channels, weight_bits, activation_bits, record)
