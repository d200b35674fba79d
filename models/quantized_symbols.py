"""Writes a quantized layer as ONNX operators.

The runtime fuses a convolution with the quantize and dequantize pairs around it into one integer kernel (QLinearConv).
The operators between the kernel and the next float operator (pixel shuffle, crop) move codes in channels-last order, so
that the runtime's channels-last convolutions need no transposition: on W-DCGAN this is 1.3 times faster than
DepthToSpace.
"""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Real, UInt8
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from models.quantized import ActivationQuantizer
from models.quantized_channels import ChannelQuantizer, InputQuantizer
from models.quantized_geometry import Geometry

if TYPE_CHECKING:
    from models.quantized_layers import QuantizedConv

Quantizer = ActivationQuantizer | ChannelQuantizer | InputQuantizer
END = 2**63 - 1
"""End of a slice that runs to the end of its axis."""
CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def emit(layer: "QuantizedConv", x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h_out w_out"]:
    """Write the layer into the current graph; see `node`."""
    source, target, geometry = layer.source, layer.target, layer.geometry
    if isinstance(source, InputQuantizer) and source.shifted:
        x = x - source.offset[:, None, None]
    if source is not None:
        x = _repeat(layer, _encode(x, source.scale, source.zero_point, source))
        x = node("DequantizeLinear", (x, source.kernel_scale, source.kernel_zero), x.shape)
    else:
        x = _repeat(layer, x)
    if target is None:
        return _rearrange(geometry, _convolve(geometry, x, layer.weight, layer.weight_scale, layer.bias))
    weight, scale, bias = layer.weight, layer.code_scale(target), layer.code_bias(target)
    last = geometry.factor > 1 and geometry.groups == 1
    if last:
        weight, scale, bias = (_phases_first(one, geometry) for one in (weight, scale, bias))
    x = _convolve(geometry, x, weight, scale, bias)
    one, zero = torch.ones(()), torch.zeros((), dtype=torch.uint8)  # the convolution gives the codes themselves
    x = _encode(x, one, zero, target)
    x = _rearrange_channels_last(geometry, x) if last else _rearrange(geometry, x)
    return node("DequantizeLinear", (x, target.scale, target.zero_point), x.shape, {"axis": 1})


def node(
    operator: str,
    inputs: tuple[Tensor | None, ...],
    shape: Any,
    attributes: dict[str, Any] | None = None,
    kind: torch.dtype = torch.float32,
) -> Tensor:
    """Write one operator, for torch's exporter if it is active, else for a mode that records calls."""
    tensors = tuple(one for one in inputs if one is not None)
    if torch.onnx.is_in_onnx_export():
        result: Tensor = torch.onnx.ops.symbolic(operator, inputs, attributes or {}, dtype=kind, shape=shape)
        return result
    if has_torch_function(tensors):
        written: Tensor = handle_torch_function(node, tensors, operator, inputs, shape, attributes, kind)
        return written
    return torch.zeros(tuple(shape), dtype=kind)


def _repeat(layer: "QuantizedConv", x: Real[Tensor, "n i h w"]) -> Real[Tensor, "n j h w"]:
    """Read some channels of the codes twice; codes take a quarter of the bytes of floats."""
    if layer.channels is None:
        return x
    shape = (x.shape[0], len(layer.channels), *x.shape[2:])
    return node("Gather", (x, layer.channels), shape, {"axis": 1}, x.dtype)


def _encode(
    x: Float[Tensor, "n c h w"],
    scale: Float[Tensor, "*channels"],
    zero_point: UInt8[Tensor, "*channels"],
    quantizer: Quantizer,
) -> UInt8[Tensor, "n c h w"]:
    """Reals -> uint8 codes; fewer than 8 bits are clipped on the codes, which keeps the convolution integer."""
    attributes = {"axis": 1} if scale.dim() else {}
    codes = node("QuantizeLinear", (x, scale, zero_point), x.shape, attributes, kind=torch.uint8)
    if quantizer.bits == 8:
        return codes
    highest = torch.full((), quantizer.highest_code, dtype=torch.uint8)
    return node("Clip", (codes, None, highest), x.shape, kind=torch.uint8)


def _convolve(
    geometry: Geometry,
    x: Float[Tensor, "n j h w"],
    weight: Real[Tensor, "rro j_group kh kw"],
    scale: Float[Tensor, " rro"] | None,
    bias: Float[Tensor, " rro"],
) -> Float[Tensor, "n rro h_out w_out"]:
    if scale is not None:
        weight = node("DequantizeLinear", (weight, scale), weight.shape, {"axis": 0})
    top, left, bottom, right = geometry.pad
    reach = [dilation * (size - 1) for dilation, size in zip(geometry.dilation, geometry.kernel, strict=True)]
    height = (x.shape[2] + top + bottom - reach[0] - 1) // geometry.stride[0] + 1
    width = (x.shape[3] + left + right - reach[1] - 1) // geometry.stride[1] + 1
    attributes = {"kernel_shape": list(geometry.kernel), "pads": list(geometry.pad)}
    others = {"strides": list(geometry.stride), "dilations": list(geometry.dilation)}
    attributes |= {name: value for name, value in others.items() if value != [1, 1]}  # 1 is the default
    grouped = {"group": geometry.groups} if geometry.groups > 1 else {}
    return node("Conv", (x, weight, bias), (x.shape[0], weight.shape[0], height, width), {**attributes, **grouped})


def _rearrange(geometry: Geometry, x: Real[Tensor, "n rro h w"]) -> Real[Tensor, "n o h_out w_out"]:
    """`Geometry.rearrange`, channels first."""
    if geometry.factor > 1:
        batch, channels, height, width = x.shape
        factor = geometry.factor
        shape = (batch, channels // factor**2, factor * height, factor * width)
        x = node("DepthToSpace", (x,), shape, {"blocksize": factor, "mode": "CRD"}, x.dtype)
    return _crop(geometry, x, (2, 3))


def _phases_first(tensor: Real[Tensor, " rro *rest"], geometry: Geometry) -> Real[Tensor, " rro *rest"]:
    """Reorder output channels from (c, y, x) to (y, x, c): neighbours in channels-last memory become neighbours."""
    return tensor.reshape(-1, geometry.factor**2, *tensor.shape[1:]).transpose(0, 1).reshape(tensor.shape)


def _rearrange_channels_last(geometry: Geometry, x: Real[Tensor, "n rrc h w"]) -> Real[Tensor, "n c h_out w_out"]:
    """`Geometry.rearrange` with phases first.

    One row of each phase is moved as a whole: (N, h, w, y, x C) -> (N, h, y, w, x C), which is (N, r h, r w, C).
    """
    batch, channels, height, width = x.shape
    factor, channels = geometry.factor, channels // geometry.factor**2
    x = node("Transpose", (x,), (batch, height, width, factor**2 * channels), {"perm": CHANNELS_LAST}, x.dtype)
    if height * width > 1:
        x = _reshape(x, (batch, height, width, factor, factor * channels))
        shape = (batch, height, factor, width, factor * channels)
        x = node("Transpose", (x,), shape, {"perm": [0, 1, 3, 2, 4]}, x.dtype)
    x = _crop(geometry, _reshape(x, (batch, factor * height, factor * width, channels)), (1, 2))
    batch, height, width, _ = x.shape
    if channels == 1:  # first and last are the same in memory
        return _reshape(x, (batch, 1, height, width))
    return node("Transpose", (x,), (batch, channels, height, width), {"perm": CHANNELS_FIRST}, x.dtype)


def _reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return node("Reshape", (x, torch.tensor([-1, *shape[1:]])), shape, kind=x.dtype)


def _crop(geometry: Geometry, x: Real[Tensor, "n _ _ _"], axes: tuple[int, int]) -> Real[Tensor, "n _ _ _"]:
    top, left, bottom, right = geometry.crop
    if not any(geometry.crop):
        return x
    shape = list(x.shape)
    shape[axes[0]] -= top + bottom
    shape[axes[1]] -= left + right
    ends = [-size if size else END for size in (bottom, right)]
    bounds = (torch.tensor(one) for one in ([top, left], ends, list(axes)))
    return node("Slice", (x, *bounds), tuple(shape), kind=x.dtype)
