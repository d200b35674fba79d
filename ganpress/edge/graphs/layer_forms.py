"""Writes torch functions as nodes of an ONNX graph, as torch.onnx does; each writer takes its function's arguments."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpress.edge.graphs.array_forms import ARRAY_FORMS
from ganpress.edge.graphs.form_operands import END, Form, NoForm, Value, name_of, pair
from ganpress.edge.graphs.graph_writer import GraphWriter

BORDERS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _window(weight: Tensor, stride: Any, dilation: Any) -> dict[str, Any]:
    """Return the ONNX attributes of a convolution's window; strides and dilations of one are the defaults, so left
    out.
    """
    steps = {"strides": pair(stride), "dilations": pair(dilation)}
    return {"kernel_shape": list(weight.shape[2:]), **{name: value for name, value in steps.items() if value != [1, 1]}}


def _grouped(groups: int) -> dict[str, Any]:
    return {"group": groups} if groups > 1 else {}


def _conv2d(
    writer: GraphWriter, input: Value, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> str:  # fmt: skip
    parameters = [name_of(writer, one) for one in (weight, bias) if one is not None]
    pads = pair(padding) * 2 if not isinstance(padding, str) else _pads_by_name(padding, weight, pair(dilation))
    window = _window(weight, stride, dilation)
    return writer.add("Conv", input.name, *parameters, pads=pads, **_grouped(groups), **window)


def _pads_by_name(padding: str, weight: Tensor, dilation: Sequence[int]) -> list[int]:
    if padding == "valid":
        return [0, 0, 0, 0]
    totals = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]  # torch pads at the end


def _conv_transpose2d(
    writer: GraphWriter, input: Value, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> str:  # fmt: skip
    parameters = [name_of(writer, one) for one in (weight, bias) if one is not None]
    sizes: dict[str, Any] = {"pads": pair(padding) * 2, **_grouped(groups), **_window(weight, stride, dilation)}
    if any(pair(output_padding)):
        sizes["output_padding"] = pair(output_padding)
    return writer.add("ConvTranspose", input.name, *parameters, **sizes)


def _linear(writer: GraphWriter, input: Value, weight: Tensor, bias: Tensor | None = None) -> str:
    if len(input.shape) != 2:
        product = writer.add("MatMul", input.name, name_of(writer, weight.t()))
        return product if bias is None else writer.add("Add", product, name_of(writer, bias))
    parameters = [name_of(writer, one) for one in (weight, bias) if one is not None]
    return writer.add("Gemm", input.name, *parameters, transB=1)


def _batch_norm(
    writer: GraphWriter, input: Value, running_mean: Tensor, running_var: Tensor, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> str:  # fmt: skip
    if training:
        raise NoForm("batch normalisation by the statistics of the batch")
    weight = torch.ones_like(running_mean) if weight is None else weight
    bias = torch.zeros_like(running_mean) if bias is None else bias
    parameters = (name_of(writer, one) for one in (weight, bias, running_mean, running_var))
    return writer.add("BatchNormalization", input.name, *parameters, epsilon=eps, momentum=1 - momentum)


def _instance_norm(
    writer: GraphWriter, input: Value, running_mean: Tensor | None = None, running_var: Tensor | None = None,  # noqa: ARG001
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> str:  # fmt: skip
    if not use_input_stats:
        raise NoForm("instance normalisation by running statistics")
    channels = input.shape[1]
    scale = writer.constant(np.ones(channels, np.float32)) if weight is None else name_of(writer, weight)
    shift = writer.constant(np.zeros(channels, np.float32)) if bias is None else name_of(writer, bias)
    return writer.add("InstanceNormalization", input.name, scale, shift, epsilon=eps)


def _pad(
    writer: GraphWriter, input: Value, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> str:
    if len(pad) % 2 or len(pad) > 2 * len(input.shape):
        raise NoForm(f"padding {pad}")
    before, after = [0] * len(input.shape), [0] * len(input.shape)
    for place in range(len(pad) // 2):  # torch pads from the last axis on
        before[-1 - place], after[-1 - place] = pad[2 * place], pad[2 * place + 1]
    filling = [writer.constant(np.array(value or 0, np.float32))] if mode == "constant" else []
    return writer.add("Pad", input.name, writer.sizes(*before, *after), *filling, mode=BORDERS[mode])


def _interpolate(
    writer: GraphWriter, input: Value, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None, antialias: bool = False,  # noqa: ARG001
) -> str:  # fmt: skip
    if len(input.shape) != 4 or mode not in ("nearest", "bilinear") or align_corners or antialias:
        raise NoForm(f"interpolation '{mode}' of {len(input.shape)} axes")
    spatial = input.shape[2:]
    if size is None:
        factors = [scale_factor] * 2 if isinstance(scale_factor, int | float) else list(scale_factor)
        wanted = [math.floor(length * factor) for length, factor in zip(spatial, factors, strict=True)]
    else:
        wanted = pair(size)
    scales = np.array([1, 1, *(new / old for new, old in zip(wanted, spatial, strict=True))], np.float32)
    sampling = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    if mode == "bilinear":
        sampling = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return writer.add("Resize", input.name, "", writer.constant(scales), **sampling)


def _prelu(writer: GraphWriter, input: Value, weight: Tensor) -> str:
    spread = weight.reshape(-1, *(1 for _ in input.shape[2:])) if weight.numel() > 1 else weight
    return writer.add("PRelu", input.name, name_of(writer, spread))


def _clamp(writer: GraphWriter, input: Value, min: float | None = None, max: float | None = None) -> str:
    bounds = ["" if bound is None else name_of(writer, bound) for bound in (min, max)]
    return writer.add("Clip", input.name, *bounds)


def _average(writer: GraphWriter, input: Value, output_size: Any) -> str:
    if len(input.shape) != 4 or pair(output_size) != [1, 1]:
        raise NoForm(f"average pooling to {output_size}")
    return writer.add("GlobalAveragePool", input.name)


def _pointwise(operator: str, **attributes: Any) -> Form:
    """Make the writer of an activation; it ignores the argument `inplace`."""

    def form(writer: GraphWriter, input: Value, inplace: bool = False) -> str:  # noqa: ARG001
        return writer.add(operator, input.name, **attributes)

    return form


def _leaky_relu(writer: GraphWriter, input: Value, negative_slope: float = 0.01, inplace: bool = False) -> str:  # noqa: ARG001
    return writer.add("LeakyRelu", input.name, alpha=negative_slope)


def _bounded_at_six(writer: GraphWriter, input: Value, inplace: bool = False) -> str:  # noqa: ARG001
    return writer.add("Clip", input.name, *(writer.constant(np.array(one, np.float32)) for one in (0, 6)))


def _inverse_root(writer: GraphWriter, input: Value) -> str:
    return writer.add("Reciprocal", writer.add("Sqrt", input.name))


def _silu(writer: GraphWriter, input: Value, inplace: bool = False) -> str:  # noqa: ARG001
    return writer.add("Mul", input.name, writer.add("Sigmoid", input.name))


def _gelu(writer: GraphWriter, input: Value, approximate: str = "none") -> str:
    return writer.add("Gelu", input.name, approximate=approximate)


def _elu(writer: GraphWriter, input: Value, alpha: float = 1.0, inplace: bool = False) -> str:  # noqa: ARG001
    return writer.add("Elu", input.name, alpha=alpha)


def _layer_norm(
    writer: GraphWriter, input: Value, normalized_shape: Sequence[int], weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5,
) -> str:  # fmt: skip
    weight = torch.ones(tuple(normalized_shape)) if weight is None else weight
    parameters = [name_of(writer, one) for one in (weight, bias) if one is not None]
    axis = -len(normalized_shape)
    return writer.add("LayerNormalization", input.name, *parameters, axis=axis, epsilon=eps)


def _group_norm(
    writer: GraphWriter, input: Value, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> str:  # fmt: skip
    """Write group normalisation as instance normalisation with one channel for each group."""
    if len(input.shape) != 4:
        raise NoForm("group normalisation of anything but feature maps")
    grouped = writer.add("Reshape", input.name, writer.sizes(0, num_groups, -1))
    ones, zeros = (writer.constant(np.full(num_groups, value, np.float32)) for value in (1, 0))
    normed = writer.add("InstanceNormalization", grouped, ones, zeros, epsilon=eps)
    result = writer.add("Reshape", normed, writer.sizes(0, *input.shape[1:]))
    for operator, one in (("Mul", weight), ("Add", bias)):
        if one is not None:
            result = writer.add(operator, result, name_of(writer, one.reshape(1, -1, 1, 1)))
    return result


def _halves(writer: GraphWriter, input: Value, dim: int = -1) -> str:
    axis = dim % len(input.shape)
    half = input.shape[axis] // 2
    first, second = (
        writer.add("Slice", input.name, writer.sizes(start), writer.sizes(end), writer.sizes(axis))
        for start, end in ((0, half), (half, END))
    )
    return writer.add("Mul", first, writer.add("Sigmoid", second))


def _pool(operator: str) -> Form:
    def form(
        writer: GraphWriter, input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, *more: Any,
        **named: Any,
    ) -> str:  # fmt: skip
        named["dilation"] = pair(named.get("dilation", 1)) != [1, 1]
        if any(more) or any(named.values()) or len(input.shape) != 4:
            raise NoForm("pooling with options")
        pads: dict[str, Any] = {"pads": pair(padding) * 2} if any(pair(padding)) else {}
        if pads and operator == "AveragePool":
            pads["count_include_pad"] = 1
        steps = pair(kernel_size if stride in (None, []) else stride)
        return writer.add(operator, input.name, kernel_shape=pair(kernel_size), strides=steps, **pads)

    return form


def _shuffle(writer: GraphWriter, input: Value, upscale_factor: int) -> str:
    return writer.add("DepthToSpace", input.name, blocksize=upscale_factor, mode="CRD")


def draw_call(writer: GraphWriter, name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Write a function by its name; arguments as torch's take them, tensors as `Operand`s.

    Raises:
        NoForm: if the function is not supported, or not with these arguments.
    """
    if name not in FORMS:
        raise NoForm(name)
    try:
        inspect.signature(FORMS[name]).bind(writer, *arguments, **named)
    except TypeError as error:  # the writer has no such argument
        raise NoForm(f"{name}: {error}") from None
    return FORMS[name](writer, *arguments, **named)


FORMS: dict[str, Form] = {
    **ARRAY_FORMS,
    "conv2d": _conv2d, "conv_transpose2d": _conv_transpose2d, "linear": _linear,
    "batch_norm": _batch_norm, "instance_norm": _instance_norm, "layer_norm": _layer_norm, "group_norm": _group_norm,
    "pad": _pad, "interpolate": _interpolate, "pixel_shuffle": _shuffle, "adaptive_avg_pool2d": _average,
    "max_pool2d": _pool("MaxPool"), "avg_pool2d": _pool("AveragePool"),
    "relu": _pointwise("Relu"), "tanh": _pointwise("Tanh"), "sigmoid": _pointwise("Sigmoid"),
    "hardswish": _pointwise("HardSwish"), "hardsigmoid": _pointwise("HardSigmoid", alpha=1 / 6, beta=0.5),
    "leaky_relu": _leaky_relu, "prelu": _prelu, "elu": _elu, "silu": _silu, "gelu": _gelu, "glu": _halves,
    "softplus": _pointwise("Softplus"), "mish": _pointwise("Mish"), "relu6": _bounded_at_six, "clamp": _clamp,
    "sqrt": _pointwise("Sqrt"), "rsqrt": _inverse_root, "exp": _pointwise("Exp"), "abs": _pointwise("Abs"),
    "neg": _pointwise("Neg"), "floor": _pointwise("Floor"), "erf": _pointwise("Erf"), "sin": _pointwise("Sin"),
    "cos": _pointwise("Cos"),
}  # fmt: skip
"""The writer of each function, by the function's name."""
