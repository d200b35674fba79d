"""Writes torch functions as steps of a C program; each writer takes the arguments of its torch function.

A pointwise function of quantized values takes no step: torch computes its result for each code, and these results
become the reals that the codes stand for. Of floats it is a loop.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpress.edge.c_code.c_convolutions import float_convolution
from ganpress.edge.c_code.c_moves import joined, pad_map, picked, resize_nearest, shuffle
from ganpress.edge.c_code.c_program import Program, float_literal
from ganpress.edge.c_code.c_values import Values, as_floats, floats_like
from ganpress.edge.graphs.form_operands import NoForm, pair
from models.quantized_geometry import Geometry

POINTWISE = frozenset({
    "relu", "leaky_relu", "tanh", "sigmoid", "clamp", "hardtanh", "relu6", "silu", "gelu", "elu", "prelu", "hardswish",
    "hardsigmoid", "softplus", "mish", "add", "sub", "rsub", "mul", "div", "truediv", "neg", "abs", "batch_norm",
})  # fmt: skip
"""Functions that compute each result from one value, if their other operands are constants."""
LARGEST = float(np.finfo(np.float32).max)
Form = Callable[..., Values]


def of_codes(function: Callable[..., Any], x: Values, arguments: Sequence[Any], named: dict[str, Any]) -> Values:
    """Apply a pointwise function to the reals that the codes stand for; the codes stay the same.

    Raises:
        NoForm: if the function's constants differ between pixels.
    """
    assert x.reals is not None  # of codes alone
    table = x.reals[None, :, :, None] if x.rank == 4 else x.reals.T
    table = table.contiguous()

    def given(value: Any) -> Any:
        return table if isinstance(value, Values) else value

    try:
        made = function(*map(given, arguments), **{name: given(one) for name, one in named.items()})
    except RuntimeError as error:
        raise NoForm(f"constants that differ between pixels: {error}") from None
    if made.shape != table.shape:
        raise NoForm("constants that differ between pixels")
    reals = made[0, :, :, 0] if x.rank == 4 else made.T
    return replace(x, reals=reals.contiguous(), scales=None, zeros=None)


def write_call(program: Program, name: str, arguments: Sequence[Any], named: dict[str, Any]) -> Values:
    """Write a function of floats, or a function that only moves values.

    Raises:
        NoForm: if the function is not supported, or not with these arguments.
    """
    if name not in FORMS:
        raise NoForm(f"the function {name}")
    try:
        inspect.signature(FORMS[name]).bind(program, *arguments, **named)
    except TypeError as error:  # the writer has no such argument
        raise NoForm(f"the function {name}: {error}") from None
    return FORMS[name](program, *arguments, **named)


def _loop(program: Program, function: str, x: Values, *before: str, channels: bool = False) -> Values:
    """Write a loop over floats that applies a C function to each value, possibly with a constant for each channel."""
    x = as_floats(program, x)
    result = floats_like(x)
    sizes = (str(x.pixels), str(x.channels)) if channels else (str(x.buffer.count),)
    program.add(function, (*before, x.buffer, result.buffer, *sizes), [x.buffer], result.buffer, in_place=True)
    return result


def _relu(program: Program, input: Values, inplace: bool = False) -> Values:  # noqa: ARG001
    return _clamp(program, input, 0.0)


def _relu6(program: Program, input: Values, inplace: bool = False) -> Values:  # noqa: ARG001
    return _clamp(program, input, 0.0, 6.0)


def _leaky_relu(program: Program, input: Values, negative_slope: float = 0.01, inplace: bool = False) -> Values:  # noqa: ARG001
    return _loop(program, "leaky_relu", input, float_literal(negative_slope))


def _clamp(program: Program, input: Values, min: float | None = None, max: float | None = None) -> Values:
    bounds = (-LARGEST if min is None else min, LARGEST if max is None else max)
    return _loop(program, "clamp_floats", input, *(float_literal(one) for one in bounds))


def _tanh(program: Program, input: Values) -> Values:
    return _loop(program, "tanh_floats", input)


def _sigmoid(program: Program, input: Values) -> Values:
    return _loop(program, "sigmoid_floats", input)


def _of_channels(constant: Any, x: Values) -> Tensor:
    """Return a constant operand as one value for each channel (C,)."""
    values = torch.as_tensor(constant, dtype=torch.float32).detach()
    if values.numel() == 1:
        return values.reshape(1).expand(x.channels).contiguous()
    shaped = values.reshape((1,) * (x.rank - values.dim()) + tuple(values.shape)) if values.dim() <= x.rank else values
    if shaped.dim() == x.rank and tuple(shaped.shape) == (1, x.channels, *(1,) * (x.rank - 2)):
        return values.flatten().contiguous()
    raise NoForm(f"a constant of shape {tuple(values.shape)} with values of shape {x.shape}")


def _sum(program: Program, x: Values, constant: Tensor) -> Values:
    return _loop(program, "shift_channels", x, program.constant(constant.numpy()), channels=True)


def _product(program: Program, x: Values, constant: Tensor) -> Values:
    return _loop(program, "scale_channels", x, program.constant(constant.numpy()), channels=True)


def _both(program: Program, function: str, a: Values, b: Values) -> Values:
    if a.shape != b.shape:
        raise NoForm(f"values of shapes {a.shape} and {b.shape} together")
    first, second = as_floats(program, a), as_floats(program, b)
    result = floats_like(first)
    arguments = (first.buffer, second.buffer, result.buffer, str(first.buffer.count))
    program.add(function, arguments, [first.buffer, second.buffer], result.buffer, in_place=True)
    return result


def _add(program: Program, input: Any, other: Any) -> Values:
    if isinstance(input, Values) and isinstance(other, Values):
        return _both(program, "add_floats", input, other)
    x, constant = (input, other) if isinstance(input, Values) else (other, input)
    return _sum(program, x, _of_channels(constant, x))


def _sub(program: Program, input: Any, other: Any) -> Values:
    if isinstance(input, Values) and isinstance(other, Values):
        return _both(program, "subtract_floats", input, other)
    if isinstance(input, Values):
        return _sum(program, input, -_of_channels(other, input))
    return _sum(program, _product(program, other, -torch.ones(other.channels)), _of_channels(input, other))


def _rsub(program: Program, input: Values, other: Any) -> Values:
    return _sub(program, other, input)


def _mul(program: Program, input: Any, other: Any) -> Values:
    if isinstance(input, Values) and isinstance(other, Values):
        return _both(program, "multiply_floats", input, other)
    x, constant = (input, other) if isinstance(input, Values) else (other, input)
    return _product(program, x, _of_channels(constant, x))


def _batch_norm(
    program: Program, input: Values, running_mean: Tensor, running_var: Tensor, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,  # noqa: ARG001
) -> Values:  # fmt: skip
    if training:
        raise NoForm("batch normalisation by the statistics of the batch")
    scale = (running_var.double() + eps).rsqrt() * (1.0 if weight is None else weight.detach().double())
    shift = (0.0 if bias is None else bias.detach().double()) - running_mean.double() * scale
    return _sum(program, _product(program, input, scale.float()), shift.float())


def _instance_norm(
    program: Program, input: Values, running_mean: Tensor | None = None, running_var: Tensor | None = None,  # noqa: ARG001
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,  # noqa: ARG001
    eps: float = 1e-5,
) -> Values:  # fmt: skip
    if not use_input_stats:
        raise NoForm("instance normalisation by running statistics")
    result = _loop(program, "normalise_maps", input, float_literal(eps), channels=True)
    if weight is not None:
        result = _product(program, result, weight.detach())
    return result if bias is None else _sum(program, result, bias.detach())


def _conv2d(
    program: Program, input: Values, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Values:  # fmt: skip
    steps, (down, right) = pair(dilation), weight.shape[2:]
    if isinstance(padding, str):
        totals = [0, 0] if padding == "valid" else [steps[0] * (down - 1), steps[1] * (right - 1)]
        pads = (*(one // 2 for one in totals), *(one - one // 2 for one in totals))
    else:
        pads = tuple(pair(padding) * 2)
    stride_rows, stride_columns = pair(stride)
    geometry = Geometry(
        (down, right), (stride_rows, stride_columns), (steps[0], steps[1]), groups, (pads[0], pads[1], pads[2], pads[3])
    )
    return float_convolution(program, input, weight, bias, geometry, 4)


def _linear(program: Program, input: Values, weight: Tensor, bias: Tensor | None = None) -> Values:
    if input.rank != 2:
        raise NoForm("a linear layer on feature maps")
    return float_convolution(program, input, weight[:, :, None, None], bias, Geometry((1, 1)), 2)


def _pad(
    program: Program, input: Values, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Values:
    if input.rank != 4:
        raise NoForm("padding of vectors")
    return pad_map(program, input, pad, mode, value or 0.0)


def _interpolate(
    program: Program, input: Values, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None, antialias: bool = False,  # noqa: ARG001
) -> Values:  # fmt: skip
    if input.rank != 4 or mode != "nearest":
        raise NoForm(f"interpolation '{mode}'")
    if size is None:
        factors = [scale_factor] * 2 if isinstance(scale_factor, int | float) else list(scale_factor)
        if any(one != int(one) for one in factors):
            raise NoForm(f"interpolation by {factors}")
        size = [int(length * factor) for length, factor in zip(input.shape[1:], factors, strict=True)]
    height, width = pair(size)
    return resize_nearest(program, input, height, width)


def _pixel_shuffle(program: Program, input: Values, upscale_factor: int) -> Values:
    return shuffle(program, input, upscale_factor)


def _getitem(program: Program, input: Values, index: Any) -> Values:
    parts = list(index) if isinstance(index, tuple | list) else [index]
    parts = [one for one in parts if one is not Ellipsis] + [slice(None)] * (input.rank - len(parts))
    if (
        input.rank != 4
        or not all(isinstance(one, slice) for one in parts)
        or any(one != slice(None) for one in parts[:2])
    ):
        raise NoForm(f"the index {index}; rows and columns of feature maps can be indexed")
    rows, columns = (
        np.arange(length)[part].astype(np.int16) for length, part in zip(input.shape[1:], parts[2:], strict=True)
    )
    return picked(program, input, rows, columns)


def _cat(program: Program, tensors: Sequence[Any], dim: int = 0) -> Values:
    first = tensors[0]
    if (
        not all(isinstance(one, Values) and one.shape[1:] == first.shape[1:] for one in tensors)
        or dim % first.rank != 1
    ):
        raise NoForm("concatenation of constants, or along an axis other than channels")
    return joined(program, tensors)


FORMS: dict[str, Form] = {
    "relu": _relu, "relu6": _relu6, "leaky_relu": _leaky_relu, "clamp": _clamp, "tanh": _tanh, "sigmoid": _sigmoid,
    "add": _add, "sub": _sub, "rsub": _rsub, "mul": _mul, "batch_norm": _batch_norm, "instance_norm": _instance_norm,
    "conv2d": _conv2d, "linear": _linear, "pad": _pad, "interpolate": _interpolate, "pixel_shuffle": _pixel_shuffle,
    "getitem": _getitem, "cat": _cat,
}  # fmt: skip
"""The writer of each function, by the function's name."""
