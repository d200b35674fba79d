"""Exact rewriting of trained layers: folds the following operations, and writes transposed convolutions as plain ones.

Computed in float64, so that the rewriting itself adds no rounding beyond the final float32.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.errors import ConfigError
from models.quantized_geometry import Geometry, axes_of, geometry_of


@torch.no_grad()
def folded(layer: nn.Module, norm: nn.Module | None = None, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one layer that equals a layer with the batch normalisation and addition after it.

    Args:
        layer: convolution, transposed convolution or linear layer.
        norm: batch normalisation that reads the layer's output, or None.
        shift: values added to each channel afterwards, (O,) in any shape, or None.

    Returns:
        In the shape of the layer's own weight, and (O,), float64.

    Raises:
        ConfigError: if the normalisation has no running statistics.
    """
    weight, bias = layer.get_parameter("weight").double(), getattr(layer, "bias", None)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    outputs = weight.shape[1] * layer.groups if isinstance(layer, nn.ConvTranspose2d) else weight.shape[0]
    total = weight.new_zeros(outputs) if bias is None else bias.double()
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        scale, offset = _normalisation(norm)
        total = total * scale + offset
        of_outputs = scale_of_outputs(layer, scale) if transposed else scale.reshape(-1, *(1,) * (weight.dim() - 1))
        weight = weight * of_outputs
    return weight, total if shift is None else total + shift.double().flatten()


@torch.no_grad()
def plain_convolution(
    layer: nn.Module, norm: nn.Module | None = None, shift: Tensor | None = None, pixel: bool = False
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the plain convolution that equals a layer and the following operations, see `folded`.

    The convolution is that of `models.quantized_geometry.geometry_of`, `pixel` as there.

    Returns:
        (r r O, I / groups, kh, kw) and (r r O,), float32; r * r output channels in a row are the phases of one channel.

    Raises:
        ConfigError: if the normalisation has no running statistics.
    """
    weight, bias = folded(layer, norm, shift)
    geometry = geometry_of(layer, pixel)
    if isinstance(layer, nn.Linear):
        weight = weight[:, :, None, None]
    elif isinstance(layer, nn.ConvTranspose2d):
        weight = _pixel_weight(layer, geometry, weight) if pixel else transposed_weight(layer, weight)
    return weight.float(), bias.repeat_interleave(geometry.factor**2).float()


def scale_of_outputs(layer: nn.Module, channels: Tensor) -> Tensor:
    """Spread a value of each output channel (O,) over a transposed convolution's weights, (I, O / groups, 1, 1)."""
    assert isinstance(layer, nn.ConvTranspose2d)  # the only kind whose outputs come second
    inputs = layer.in_channels // layer.groups
    return channels.reshape(layer.groups, 1, -1).expand(-1, inputs, -1).flatten(0, 1)[:, :, None, None]


def _pixel_weight(layer: nn.ConvTranspose2d, geometry: Geometry, weight: Tensor) -> Tensor:
    """Give each output pixel its own weights: (I, O / g, k, k) -> (r r O, I / g, 1, 1)."""
    top, left = (int(size) for size in layer.padding)
    size, inputs = geometry.factor, layer.in_channels // layer.groups
    drawn = weight[:, :, top : top + size, left : left + size]
    ordered = drawn.reshape(layer.groups, inputs, -1, size, size).permute(0, 2, 3, 4, 1)
    return ordered.reshape(-1, inputs, 1, 1)


def transposed_weight(layer: nn.ConvTranspose2d, weight: Tensor) -> Tensor:
    """Weights of the plain convolution that equals a transposed one: (I, O / g, k, k) -> (s s O, I / g, taps, taps).

    Tap t of phase r is w[s (last - t) + r + shift], zero outside the kernel; see `models.quantized_geometry.Axis`.
    """
    rows, columns = axes_of(layer)
    stride, groups = layer.stride[0], layer.groups
    inputs, outputs = weight.shape[0] // groups, weight.shape[1]
    padded = functional.pad(weight, (1, 1, 1, 1)).reshape(groups, inputs, outputs, *(n + 2 for n in weight.shape[2:]))
    taps = [
        (1 + stride * (axis.last - torch.arange(axis.taps)) + torch.arange(stride)[:, None] + axis.shift).clamp(
            0, n + 1
        )
        for axis, n in zip((rows, columns), weight.shape[2:], strict=True)
    ]  # (phase, tap) each; 0 and n + 1 are the zeros around
    picked = padded[
        :, :, :, taps[0][:, :, None, None], taps[1][None, None]
    ]  # (g, I, O, phase y, tap y, phase x, tap x)
    ordered = picked.permute(0, 2, 3, 5, 1, 4, 6)
    return ordered.reshape(groups * outputs * stride**2, inputs, rows.taps, columns.taps)


def _normalisation(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the scale and offset (C,) of a batch normalisation in eval mode, float64."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ConfigError("a batch normalisation without running statistics cannot be folded; train it with them")
    scale = torch.rsqrt(variance.double() + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.double()
    offset = -mean.double() * scale
    return scale, offset + norm.bias.double() if norm.affine else offset
