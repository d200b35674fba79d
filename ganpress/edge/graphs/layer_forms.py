"""Functions of torch as nodes of an ONNX graph, as torch.onnx writes them; each takes its arguments as torch's does."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpress.edge.graphs.graph_writer import GraphWriter

BORDERS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
END = int(np.iinfo(np.int64).max)
"""Of a slice that runs to the end of its axis."""


class NoForm(Exception):
    """A function, or a way to call it, that is not written here."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph that is computed."""

    name: str
    shape: tuple[int, ...]
    """Of one sample, (1, …)."""


Operand = Value | Tensor | float
"""What is computed, and constants."""
Form = Callable[..., str]
"""(writer, *arguments of the function) -> name of the result. Raises NoForm for arguments that it does not know."""


def _name(writer: GraphWriter, operand: Operand) -> str:
    if isinstance(operand, Value):
        return operand.name
    array = operand.numpy() if isinstance(operand, Tensor) else np.array(operand)
    return writer.constant(array.astype(np.float32))


def _pair(value: int | Sequence[int]) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def _window(weight: Tensor, stride: Any, dilation: Any) -> dict[str, Any]:
    """What a convolution sees, as ONNX's attributes; ones are what is taken without."""
    steps = {"strides": _pair(stride), "dilations": _pair(dilation)}
    return {"kernel_shape": list(weight.shape[2:]), **{name: value for name, value in steps.items() if value != [1, 1]}}


def _grouped(groups: int) -> dict[str, Any]:
    return {"group": groups} if groups > 1 else {}


def _conv2d(
    writer: GraphWriter, input: Value, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> str:  # fmt: skip
    parameters = [_name(writer, one) for one in (weight, bias) if one is not None]
    pads = _pair(padding) * 2 if not isinstance(padding, str) else _pads_by_name(padding, weight, _pair(dilation))
    window = _window(weight, stride, dilation)
    return writer.add("Conv", input.name, *parameters, pads=pads, **_grouped(groups), **window)


def _pads_by_name(padding: str, weight: Tensor, dilation: Sequence[int]) -> list[int]:
    if padding == "valid":
        return [0, 0, 0, 0]
    totals = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]  # the odd one comes last


def _conv_transpose2d(
    writer: GraphWriter, input: Value, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> str:  # fmt: skip
    parameters = [_name(writer, one) for one in (weight, bias) if one is not None]
    sizes: dict[str, Any] = {"pads": _pair(padding) * 2, **_grouped(groups), **_window(weight, stride, dilation)}
    if any(_pair(output_padding)):
        sizes["output_padding"] = _pair(output_padding)
    return writer.add("ConvTranspose", input.name, *parameters, **sizes)


def _linear(writer: GraphWriter, input: Value, weight: Tensor, bias: Tensor | None = None) -> str:
    if len(input.shape) != 2:
        product = writer.add("MatMul", input.name, _name(writer, weight.t()))
        return product if bias is None else writer.add("Add", product, _name(writer, bias))
    parameters = [_name(writer, one) for one in (weight, bias) if one is not None]
    return writer.add("Gemm", input.name, *parameters, transB=1)


def _batch_norm(
    writer: GraphWriter, input: Value, running_mean: Tensor, running_var: Tensor, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> str:  # fmt: skip
    if training:
        raise NoForm("batch normalisation by the statistics of the batch")
    weight = torch.ones_like(running_mean) if weight is None else weight
    bias = torch.zeros_like(running_mean) if bias is None else bias
    parameters = (_name(writer, one) for one in (weight, bias, running_mean, running_var))
    return writer.add("BatchNormalization", input.name, *parameters, epsilon=eps, momentum=1 - momentum)


def _instance_norm(
    writer: GraphWriter, input: Value, running_mean: Tensor | None = None, running_var: Tensor | None = None,  # noqa: ARG001
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> str:  # fmt: skip
    if not use_input_stats:
        raise NoForm("instance normalisation by running statistics")
    channels = input.shape[1]
    scale = writer.constant(np.ones(channels, np.float32)) if weight is None else _name(writer, weight)
    shift = writer.constant(np.zeros(channels, np.float32)) if bias is None else _name(writer, bias)
    return writer.add("InstanceNormalization", input.name, scale, shift, epsilon=eps)


def _pad(
    writer: GraphWriter, input: Value, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> str:
    if len(pad) % 2 or len(pad) > 2 * len(input.shape):
        raise NoForm(f"padding {pad}")
    before, after = [0] * len(input.shape), [0] * len(input.shape)
    for place in range(len(pad) // 2):  # torch counts from the last axis
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
        wanted = _pair(size)
    scales = np.array([1, 1, *(new / old for new, old in zip(wanted, spatial, strict=True))], np.float32)
    sampling = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    if mode == "bilinear":
        sampling = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return writer.add("Resize", input.name, "", writer.constant(scales), **sampling)


def _getitem(writer: GraphWriter, input: Value, index: Any) -> str:
    parts = list(index) if isinstance(index, tuple | list) else [index]
    if not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
        raise NoForm(f"index {parts}")
    axes = [axis for axis, part in enumerate(parts) if part != slice(None)]
    starts = [parts[axis].start or 0 for axis in axes]
    ends = [END if parts[axis].stop is None else parts[axis].stop for axis in axes]
    return writer.add("Slice", input.name, writer.sizes(*starts), writer.sizes(*ends), writer.sizes(*axes))


def _concatenation(writer: GraphWriter, tensors: Sequence[Operand], dim: int = 0, axis: int | None = None) -> str:
    like = next(one for one in tensors if isinstance(one, Value))
    chosen = dim if axis is None else axis
    if chosen % len(like.shape) == 0:
        raise NoForm("concatenation of samples")
    return writer.add("Concat", *(_batched(writer, one, like) for one in tensors), axis=chosen)


def _batched(writer: GraphWriter, operand: Operand, like: Value) -> str:
    """A constant that was made for each sample, alike, repeated for as many as there are."""
    if not isinstance(operand, Tensor) or operand.shape[0] != like.shape[0]:
        return _name(writer, operand)
    once = _once(operand, like)
    batch = writer.add("Shape", like.name, start=0, end=1)
    shape = writer.add("Concat", batch, writer.sizes(*once.shape[1:]), axis=0)
    return writer.add("Expand", _name(writer, once), shape)


def _once(constant: Tensor, like: Value) -> Tensor:
    """What a constant is for one sample, (1, …), where it has a row for each sample of the graph's trial batch."""
    if constant.dim() != len(like.shape) or constant.shape[0] != like.shape[0] or constant.shape[0] == 1:
        return constant
    if not bool((constant == constant[:1]).all()):
        raise NoForm("a constant that differs between samples")
    return constant[:1]


def _prelu(writer: GraphWriter, input: Value, weight: Tensor) -> str:
    spread = weight.reshape(-1, *(1 for _ in input.shape[2:])) if weight.numel() > 1 else weight
    return writer.add("PRelu", input.name, _name(writer, spread))


def _clamp(writer: GraphWriter, input: Value, min: float | None = None, max: float | None = None) -> str:
    bounds = ["" if bound is None else _name(writer, bound) for bound in (min, max)]
    return writer.add("Clip", input.name, *bounds)


def _average(writer: GraphWriter, input: Value, output_size: Any) -> str:
    if len(input.shape) != 4 or _pair(output_size) != [1, 1]:
        raise NoForm(f"average pooling to {output_size}")
    return writer.add("GlobalAveragePool", input.name)


def _pointwise(operator: str, **attributes: Any) -> Form:
    """An activation; how it is told to work in place does not matter."""

    def form(writer: GraphWriter, input: Value, inplace: bool = False) -> str:  # noqa: ARG001
        return writer.add(operator, input.name, **attributes)

    return form


def _leaky_relu(writer: GraphWriter, input: Value, negative_slope: float = 0.01, inplace: bool = False) -> str:  # noqa: ARG001
    return writer.add("LeakyRelu", input.name, alpha=negative_slope)


def _arithmetic(operator: str) -> Form:
    def form(writer: GraphWriter, input: Operand, other: Operand) -> str:
        for one, beside in ((input, other), (other, input)):
            if isinstance(one, Value) and isinstance(beside, Value) and len(one.shape) < len(beside.shape):
                raise NoForm("a broadcast of the batch")
        like = input if isinstance(input, Value) else other
        assert isinstance(like, Value)  # else nothing would be computed
        both = [_once(one, like) if isinstance(one, Tensor) else one for one in (input, other)]
        return writer.add(operator, *(_name(writer, one) for one in both))

    return form


def _reversed_sub(writer: GraphWriter, input: Value, other: Operand) -> str:
    """`other - input`, as torch calls `1 - x`."""
    return _arithmetic("Sub")(writer, other, input)


def _permuted(writer: GraphWriter, input: Value, *dims: Any) -> str:
    order = list(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else list(dims)
    return _transposed(writer, input, [one % len(input.shape) for one in order])


def _swapped(writer: GraphWriter, input: Value, dim0: int, dim1: int) -> str:
    order = list(range(len(input.shape)))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _transposed(writer, input, order)


def _transposed(writer: GraphWriter, input: Value, order: list[int]) -> str:
    if order[0] != 0:
        raise NoForm("an exchange of samples")
    return writer.add("Transpose", input.name, perm=order)


def _product(writer: GraphWriter, input: Operand, other: Operand) -> str:
    shapes = [one.shape for one in (input, other) if not isinstance(one, float)]
    if any(isinstance(one, Value) and len(one.shape) < 2 for one in (input, other)) or min(map(len, shapes)) < 2:
        raise NoForm("a product of vectors")
    if isinstance(input, Value) and isinstance(other, Value) and len(input.shape) != len(other.shape):
        raise NoForm("a broadcast of the batch")
    return writer.add("MatMul", _name(writer, input), _name(writer, other))


def _softmax(writer: GraphWriter, input: Value, dim: int, *_: Any, **__: Any) -> str:
    if dim % len(input.shape) == 0:
        raise NoForm("softmax over samples")
    return writer.add("Softmax", input.name, axis=dim)


def _reduction(operator: str) -> Form:
    def form(writer: GraphWriter, input: Value, dim: Any = None, keepdim: bool = False) -> str:
        axes = [] if dim is None else _axes(dim, len(input.shape))
        if not axes or 0 in axes:
            raise NoForm("a reduction over samples")
        return writer.add(operator, input.name, writer.sizes(*axes), keepdims=int(keepdim))

    return form


def _axes(dim: Any, count: int) -> list[int]:
    return [one % count for one in ([dim] if isinstance(dim, int) else list(dim))]


def _bounded_at_six(writer: GraphWriter, input: Value, inplace: bool = False) -> str:  # noqa: ARG001
    return writer.add("Clip", input.name, *(writer.constant(np.array(one, np.float32)) for one in (0, 6)))


def _power(writer: GraphWriter, input: Operand, exponent: Operand) -> str:
    return _arithmetic("Pow")(writer, input, exponent)


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
    parameters = [_name(writer, one) for one in (weight, bias) if one is not None]
    axis = -len(normalized_shape)
    return writer.add("LayerNormalization", input.name, *parameters, axis=axis, epsilon=eps)


def _group_norm(
    writer: GraphWriter, input: Value, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> str:  # fmt: skip
    """Each group is one channel of an instance normalisation."""
    if len(input.shape) != 4:
        raise NoForm("group normalisation of other than maps")
    grouped = writer.add("Reshape", input.name, writer.sizes(0, num_groups, -1))
    ones, zeros = (writer.constant(np.full(num_groups, value, np.float32)) for value in (1, 0))
    normed = writer.add("InstanceNormalization", grouped, ones, zeros, epsilon=eps)
    result = writer.add("Reshape", normed, writer.sizes(0, *input.shape[1:]))
    for operator, one in (("Mul", weight), ("Add", bias)):
        if one is not None:
            result = writer.add(operator, result, _name(writer, one.reshape(1, -1, 1, 1)))
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
        named["dilation"] = _pair(named.get("dilation", 1)) != [1, 1]
        if any(more) or any(named.values()) or len(input.shape) != 4:
            raise NoForm("pooling with options")
        pads: dict[str, Any] = {"pads": _pair(padding) * 2} if any(_pair(padding)) else {}
        if pads and operator == "AveragePool":
            pads["count_include_pad"] = 1
        steps = _pair(kernel_size if stride in (None, []) else stride)
        return writer.add(operator, input.name, kernel_shape=_pair(kernel_size), strides=steps, **pads)

    return form


def _lookup(writer: GraphWriter, input: Value, weight: Tensor, *_: Any, **__: Any) -> str:
    return writer.add("Gather", _name(writer, weight), input.name, axis=0)


def _whole_numbers(writer: GraphWriter, input: Value) -> str:
    from onnx import TensorProto

    return writer.add("Cast", input.name, to=int(TensorProto.INT64))


def _distances(writer: GraphWriter, input: Value, other: Tensor, p: float = 2.0, **_: Any) -> str:
    """Euclidean distances of rows to constant ones, by |a|^2 - 2 a b + |b|^2."""
    if p != 2 or not isinstance(other, Tensor) or other.dim() != 2:
        raise NoForm("distances that are not Euclidean, or to what is computed")
    squares = writer.add("ReduceSumSquare", input.name, writer.sizes(-1))
    products = writer.add("MatMul", input.name, _name(writer, -2 * other.t()))
    total = writer.add("Add", writer.add("Add", squares, products), _name(writer, other.square().sum(1)))
    return writer.add("Sqrt", writer.add("Relu", total))


def _place(operator: str) -> Form:
    def form(writer: GraphWriter, input: Value, dim: Any = None, keepdim: bool = False) -> str:
        if dim is None or dim % len(input.shape) == 0:
            raise NoForm("a choice over samples")
        return writer.add(operator, input.name, axis=dim % len(input.shape), keepdims=int(keepdim))

    return form


def _expanded(writer: GraphWriter, input: Value, *sizes: Any) -> str:
    shape = list(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else list(sizes)
    if len(shape) != len(input.shape):
        raise NoForm("an expansion to more axes")
    wanted = [1, *(1 if size == -1 else int(size) for size in shape[1:])]  # 1 keeps what is there
    return writer.add("Expand", input.name, writer.sizes(*wanted))


def _repeated(writer: GraphWriter, input: Value, *times: Any) -> str:
    counts = list(times[0]) if len(times) == 1 and not isinstance(times[0], int) else list(times)
    if len(counts) != len(input.shape) or counts[0] != 1:
        raise NoForm("a repetition of samples")
    return writer.add("Tile", input.name, writer.sizes(*map(int, counts)))


def _stacked(writer: GraphWriter, tensors: Sequence[Operand], dim: int = 0) -> str:
    like = next(one for one in tensors if isinstance(one, Value))
    axis = dim % (len(like.shape) + 1)
    if axis == 0 or not all(isinstance(one, Value) for one in tensors):
        raise NoForm("a stack of samples or constants")
    parts = (writer.add("Unsqueeze", _name(writer, one), writer.sizes(axis)) for one in tensors)
    return writer.add("Concat", *parts, axis=axis)


def _shuffle(writer: GraphWriter, input: Value, upscale_factor: int) -> str:
    return writer.add("DepthToSpace", input.name, blocksize=upscale_factor, mode="CRD")


def draw_call(writer: GraphWriter, name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Write a function by its name; arguments as torch's take them, tensors as `Operand`s.

    Raises:
        NoForm: if it is not written here, or not with these arguments.
    """
    if name not in FORMS:
        raise NoForm(name)
    try:
        inspect.signature(FORMS[name]).bind(writer, *arguments, **named)
    except TypeError as error:  # an argument that the form does not know
        raise NoForm(f"{name}: {error}") from None
    return FORMS[name](writer, *arguments, **named)


FORMS: dict[str, Form] = {
    "conv2d": _conv2d, "conv_transpose2d": _conv_transpose2d, "linear": _linear,
    "batch_norm": _batch_norm, "instance_norm": _instance_norm,
    "pad": _pad, "interpolate": _interpolate, "pixel_shuffle": _shuffle, "getitem": _getitem,
    "cat": _concatenation, "concat": _concatenation, "adaptive_avg_pool2d": _average,
    "add": _arithmetic("Add"), "sub": _arithmetic("Sub"), "mul": _arithmetic("Mul"), "div": _arithmetic("Div"),
    "truediv": _arithmetic("Div"), "rsub": _reversed_sub, "pow": _power, "rsqrt": _inverse_root,
    "permute": _permuted, "transpose": _swapped, "matmul": _product, "bmm": _product, "softmax": _softmax,
    "mean": _reduction("ReduceMean"), "sum": _reduction("ReduceSum"),
    "silu": _silu, "gelu": _gelu, "layer_norm": _layer_norm, "group_norm": _group_norm, "glu": _halves,
    "max_pool2d": _pool("MaxPool"), "avg_pool2d": _pool("AveragePool"), "embedding": _lookup, "long": _whole_numbers,
    "cdist": _distances, "argmin": _place("ArgMin"), "argmax": _place("ArgMax"),
    "expand": _expanded, "repeat": _repeated, "stack": _stacked,
    "sqrt": _pointwise("Sqrt"), "exp": _pointwise("Exp"), "abs": _pointwise("Abs"), "neg": _pointwise("Neg"),
    "floor": _pointwise("Floor"), "erf": _pointwise("Erf"), "sin": _pointwise("Sin"), "cos": _pointwise("Cos"),
    "softplus": _pointwise("Softplus"), "mish": _pointwise("Mish"), "relu6": _bounded_at_six,
    "elu": _elu,
    "relu": _pointwise("Relu"), "tanh": _pointwise("Tanh"), "sigmoid": _pointwise("Sigmoid"),
    "hardswish": _pointwise("HardSwish"), "hardsigmoid": _pointwise("HardSigmoid", alpha=1 / 6, beta=0.5),
    "leaky_relu": _leaky_relu, "prelu": _prelu, "clamp": _clamp,
}  # fmt: skip
"""By the name of the function."""
