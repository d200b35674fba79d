"""Exact rewriting of trained generators into forms that edge runtimes run fast."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.errors import ConfigError
from models.edge_wdcgan import PROJECTION, EdgeWdcgan, FoldedWdcgan
from models.quantized_geometry import axes_of
from models.wdcgan import UpBlock, WdcganGenerator


def deployable(model: nn.Module) -> EdgeWdcgan:
    """Rewrite a trained generator into sub-pixel form, whatever form it comes in.

    Raises:
        ConfigError: if no rewriting is known for its architecture.
    """
    if isinstance(model, WdcganGenerator):
        model = fold_batch_norm(model)
    if isinstance(model, FoldedWdcgan):
        model = transposed_to_subpixel(model)
    if not isinstance(model, EdgeWdcgan):
        known = "WdcganGenerator, FoldedWdcgan, EdgeWdcgan"
        raise ConfigError(f"{type(model).__name__} cannot be quantized; known architectures: {known}")
    return model


@torch.no_grad()
def fold_batch_norm(model: WdcganGenerator) -> FoldedWdcgan:
    """Fold the running statistics into the transposed convolutions before them.

    A block computes (W x - mean) / sigma + bias with sigma = sqrt(variance + eps), which is the transposed convolution
    with the weights W / sigma and the bias `bias - mean / sigma`. Computed in float64, so that the fold itself adds no
    rounding beyond the final float32.

    Args:
        model: a trained generator; only its eval behaviour is kept.

    Raises:
        ConfigError: if a normalisation has no running statistics.
    """
    blocks = [block for block in model.blocks if isinstance(block, UpBlock)]
    folded = FoldedWdcgan(
        blocks[0].conv.in_channels, [block.conv.out_channels for block in blocks], model.head.out_channels
    )
    parameters = [*(_fold_block(block) for block in blocks), (model.head.weight, model.head.get_parameter("bias"))]
    for conv, (weight, bias) in zip(folded.convs, parameters, strict=True):
        conv.load_state_dict({"weight": weight, "bias": bias})
    return folded.eval()


def _fold_block(block: UpBlock) -> tuple[Tensor, Tensor]:
    mean, variance = block.norm.running_mean, block.norm.running_var
    if mean is None or variance is None:
        raise ConfigError("a batch normalisation without running statistics cannot be folded; train it with them")
    inverse_sigma = torch.rsqrt(variance.double() + block.norm.eps)
    weight = block.conv.weight.double() * inverse_sigma[None, :, None, None]  # (in, out, 4, 4)
    bias = block.bias.double() - mean.double() * inverse_sigma
    return weight.float(), bias.float()


@torch.no_grad()
def transposed_to_subpixel(model: FoldedWdcgan) -> EdgeWdcgan:
    """Rewrite every transposed convolution as convolution + rearrangement; same weights, same output."""
    edge = EdgeWdcgan(model.latent, model.widths, model.channels)
    for transposed, conv, geometry in zip(model.convs, edge.convs, edge.geometries, strict=True):
        rewrite = projection_weight if geometry is PROJECTION else subpixel_weight
        weight, bias = transposed.get_parameter("weight"), transposed.get_parameter("bias")
        conv.load_state_dict({"weight": rewrite(weight), "bias": bias.repeat_interleave(geometry.factor**2)})
    return edge.eval()


def projection_weight(weight: Tensor) -> Tensor:
    """Weights of the 1x1 convolution that equals a k4 s1 p0 transposed convolution of a single pixel.

    Each of the 16 output pixels is its own linear map of the input: (I, O, 4, 4) -> (16 O, I, 1, 1), channel
    o * 16 + y * 4 + x.
    """
    inputs, outputs = weight.shape[:2]
    return weight.permute(1, 2, 3, 0).reshape(outputs * 16, inputs, 1, 1)


def subpixel_weight(weight: Tensor) -> Tensor:
    """Weights of the 2x2 convolution, padding 1, that equals a k4 s2 p1 transposed convolution.

    Along one axis the transposed convolution adds w[k] x[i] to y[2 i - 1 + k]. Writing the output index as 2 j + r - 1
    leaves k = r from i = j and k = r + 2 from i = j - 1: a two-tap convolution (w[r + 2], w[r]) for each phase r. The
    j run from 0 to H, so that the rearranged result is one pixel too large on each side, which is cropped.
    (I, O, 4, 4) -> (4 O, I, 2, 2), channel o * 4 + ry * 2 + rx.
    """
    inputs, outputs = weight.shape[:2]
    taps = weight.reshape(inputs, outputs, 2, 2, 2, 2).flip(2, 4)  # (I, O, tap y, phase y, tap x, phase x)
    return taps.permute(1, 3, 5, 0, 2, 4).reshape(outputs * 4, inputs, 2, 2)


@torch.no_grad()
def plain_convolution(layer: nn.Module, norm: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the plain convolution that equals a layer, and the batch normalisation behind it.

    The convolution is that of `models.quantized_geometry.geometry_of`. Computed in float64, so that the rewriting
    itself adds no rounding beyond the final float32.

    Args:
        layer: convolution, transposed convolution or linear layer.
        norm: batch normalisation that reads the layer's output, or None.

    Returns:
        (r r O, I / groups, kh, kw) and (r r O,), float32; r * r output channels in a row are the phases of one channel.

    Raises:
        ConfigError: if the normalisation has no running statistics.
    """
    weight, bias = layer.get_parameter("weight").double(), getattr(layer, "bias", None)
    if isinstance(layer, nn.Linear):
        weight = weight[:, :, None, None]
    factor = layer.stride[0] if isinstance(layer, nn.ConvTranspose2d) else 1
    if isinstance(layer, nn.ConvTranspose2d):
        weight = transposed_weight(layer, weight)
    outputs = weight.shape[0] // factor**2
    shift = torch.zeros(outputs, dtype=torch.float64) if bias is None else bias.double()
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        scale, offset = _normalisation(norm)
        weight = weight * scale.repeat_interleave(factor**2)[:, None, None, None]
        shift = shift * scale + offset
    return weight.float(), shift.repeat_interleave(factor**2).float()


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
    """Scale and offset (C,) that a batch normalisation is in eval mode, float64."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ConfigError("a batch normalisation without running statistics cannot be folded; train it with them")
    scale = torch.rsqrt(variance.double() + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.double()
    offset = -mean.double() * scale
    return scale, offset + norm.bias.double() if norm.affine else offset
