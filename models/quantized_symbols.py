"""A quantized layer as operators of ONNX, for torch's exporter.

The runtime finds quantize and dequantize pairs around a convolution and runs one integer kernel (QLinearConv) for all
of them. What lies between the kernel and the next float operator (sub-pixel rearrangement, crop) moves codes.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models.quantized import ActivationQuantizer
from models.quantized_channels import ChannelQuantizer, InputQuantizer

if TYPE_CHECKING:
    from models.quantized_layers import QuantizedConv

Quantizer = ActivationQuantizer | ChannelQuantizer | InputQuantizer


def emit(layer: "QuantizedConv", x: Tensor) -> Tensor:
    """Write the layer into the graph that is being exported: (N, I, H, W) -> (N, O, h, w).

    Raises:
        RuntimeError: if no export is under way.
    """
    source, target = layer.source, layer.target
    if isinstance(source, InputQuantizer) and source.shifted:
        x = x - source.offset[:, None, None]
    if source is not None:
        x = _repeat(layer, _encode(x, source.scale, source.zero_point, source))
        x = _node("DequantizeLinear", (x, source.kernel_scale, source.kernel_zero), x.shape)
    else:
        x = _repeat(layer, x)
    if target is None:
        return _rearrange(layer, _convolve(layer, x, layer.weight_scale, layer.bias))
    x = _convolve(layer, x, layer.code_scale(target), layer.code_bias(target))
    one, zero = torch.ones(()), torch.zeros((), dtype=torch.uint8)  # the convolution gives the codes themselves
    x = _rearrange(layer, _encode(x, one, zero, target))
    return _node("DequantizeLinear", (x, target.scale, target.zero_point), x.shape, {"axis": 1})


def _repeat(layer: "QuantizedConv", x: Tensor) -> Tensor:
    """Read some channels twice; of codes, which are a quarter of the bytes."""
    if layer.channels is None:
        return x
    shape = (x.shape[0], len(layer.channels), *x.shape[2:])
    return _node("Gather", (x, layer.channels), shape, {"axis": 1}, x.dtype)


def _encode(x: Tensor, scale: Tensor, zero_point: Tensor, quantizer: Quantizer) -> Tensor:
    """Reals -> uint8 codes; fewer than 8 bits are clipped on the codes, which keeps the convolution integer."""
    attributes = {"axis": 1} if scale.dim() else {}
    codes = _node("QuantizeLinear", (x, scale, zero_point), x.shape, attributes, kind=torch.uint8)
    if quantizer.bits == 8:
        return codes
    highest = torch.full((), quantizer.highest_code, dtype=torch.uint8)
    return _node("Clip", (codes, None, highest), x.shape, kind=torch.uint8)


def _convolve(layer: "QuantizedConv", x: Tensor, scale: Tensor | None, bias: Tensor) -> Tensor:
    geometry, weight = layer.geometry, layer.weight
    if scale is not None:
        weight = _node("DequantizeLinear", (weight, scale), weight.shape, {"axis": 0})
    top, left, bottom, right = geometry.pad
    reach = [dilation * (size - 1) for dilation, size in zip(geometry.dilation, geometry.kernel, strict=True)]
    height = (x.shape[2] + top + bottom - reach[0] - 1) // geometry.stride[0] + 1
    width = (x.shape[3] + left + right - reach[1] - 1) // geometry.stride[1] + 1
    attributes = {
        "kernel_shape": list(geometry.kernel),
        "strides": list(geometry.stride),
        "dilations": list(geometry.dilation),
        "pads": list(geometry.pad),
        "group": geometry.groups,
    }
    return _node("Conv", (x, weight, bias), (x.shape[0], weight.shape[0], height, width), attributes)


def _rearrange(layer: "QuantizedConv", x: Tensor) -> Tensor:
    geometry = layer.geometry
    if geometry.factor > 1:
        batch, channels, height, width = x.shape
        factor = geometry.factor
        shape = (batch, channels // factor**2, factor * height, factor * width)
        x = _node("DepthToSpace", (x,), shape, {"blocksize": factor, "mode": "CRD"}, x.dtype)
    top, left, bottom, right = geometry.crop
    if not any(geometry.crop):
        return x
    shape = (*x.shape[:2], x.shape[2] - top - bottom, x.shape[3] - left - right)
    starts, ends, axes = (
        torch.tensor([top, left]),
        torch.tensor([top + shape[2], left + shape[3]]),
        torch.tensor([2, 3]),
    )
    return _node("Slice", (x, starts, ends, axes), shape, kind=x.dtype)


def _node(
    operator: str,
    inputs: tuple[Tensor | None, ...],
    shape: Any,
    attributes: dict[str, Any] | None = None,
    kind: torch.dtype = torch.float32,
) -> Tensor:
    result: Tensor = torch.onnx.ops.symbolic(operator, inputs, attributes or {}, dtype=kind, shape=shape)
    return result
