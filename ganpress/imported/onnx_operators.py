"""All supported ONNX operators, by name. Their definitions: https://onnx.ai/onnx/operators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ganpress.imported import onnx_layers, onnx_shapes
from ganpress.imported.onnx_translation import Operator, Translation, Value, optional

FLOATS = {1: torch.float32, 10: torch.float16, 11: torch.float64}
"""Number of a type in ONNX -> that of torch."""
TYPES = FLOATS | {6: torch.int32, 7: torch.int64, 9: torch.bool}


def _simple(function: Callable[..., Tensor], *names: str, **defaults: Any) -> Operator:
    """An operator of the same arguments, with attributes by name."""

    def made(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        return of.call(function, *inputs, *(attributes.get(name, defaults.get(name)) for name in names))

    return made


def _length(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    return x.square().sum(axes, keepdim=keepdim).sqrt()


def _grid_sample(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    mode = attributes.get("mode", "bilinear")
    padding, corners = attributes.get("padding_mode", "zeros"), bool(attributes.get("align_corners", 0))
    return of.call(functional.grid_sample, *inputs, modes.get(mode, mode), padding, corners)


def _extreme_place(function: Callable[..., Tensor]) -> Operator:
    def made(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        return of.call(function, inputs[0], attributes.get("axis", 0), bool(attributes.get("keepdims", 1)))

    return made


def _pool(function: Callable[..., Tensor]) -> Operator:
    def made(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        kernel = tuple(attributes["kernel_shape"])
        stride = tuple(attributes.get("strides", [1] * len(kernel)))
        pads = list(attributes.get("pads", [0] * 2 * len(kernel)))
        if pads[: len(kernel)] != pads[len(kernel) :] or attributes.get("auto_pad", "NOTSET") not in (
            "NOTSET",
            "VALID",
        ):
            raise of.refused("pads unequally")
        if any(pads) and function is functional.avg_pool2d and not attributes.get("count_include_pad", 0):
            raise of.refused("leaves its padding out of the mean")
        return of.call(function, inputs[0], kernel, stride, pads[: len(kernel)])

    return made


def _clip(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    bounds = []
    for place, name in ((1, "min"), (2, "max")):
        given = optional(inputs, place)
        bounds.append(attributes.get(name) if given is None else float(given.example))
    return of.call(torch.clamp, inputs[0], *bounds)


def _cast(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    wanted = attributes["to"]
    if wanted not in TYPES:
        raise of.refused("makes numbers of a type")
    return of.call(_as_type, inputs[0], torch.float32 if wanted in FLOATS else TYPES[wanted])


def _as_type(x: Tensor, kind: torch.dtype) -> Tensor:
    return x.to(kind)


def _identity(_of: Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    return inputs[0]  # type: ignore[no-any-return]


def _many(function: Callable[..., Tensor]) -> Operator:
    def made(of: Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
        result = inputs[0]
        for one in inputs[1:]:
            result = of.call(function, result, one)
        return result  # type: ignore[no-any-return]

    return made


def _global_mean(x: Tensor) -> Tensor:
    return x.mean(list(range(2, x.dim())), keepdim=True)


def _gelu(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    return of.call(functional.gelu, inputs[0], approximate=attributes.get("approximate", "none"))


def _hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    return (x * alpha + beta).clamp(0, 1)


def _divided(x: Tensor, y: Tensor) -> Tensor:
    whole = not x.is_floating_point() and not y.is_floating_point()
    return torch.div(x, y, rounding_mode="trunc" if whole else None)


SAME: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs, "Ceil": torch.ceil, "Cos": torch.cos, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor,
    "Log": torch.log, "Neg": torch.neg, "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Round": torch.round,
    "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sqrt": torch.sqrt, "Tanh": torch.tanh,
    "Softplus": functional.softplus, "Mish": functional.mish, "HardSwish": functional.hardswish,
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": _divided, "Pow": torch.pow, "Equal": torch.eq,
    "Greater": torch.gt, "Less": torch.lt, "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le, "Where": torch.where,
    "Not": torch.logical_not, "GlobalAveragePool": _global_mean,
}  # fmt: skip
"""Operators that take what torch's function takes."""
OPERATORS: dict[str, Operator] = {name: _simple(function) for name, function in SAME.items()} | {
    "ArgMax": _extreme_place(torch.argmax),
    "ArgMin": _extreme_place(torch.argmin),
    "AveragePool": _pool(functional.avg_pool2d),
    "BatchNormalization": onnx_layers.batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": onnx_shapes.concat,
    "Constant": onnx_shapes.constant,
    "ConstantOfShape": onnx_shapes.constant_of_shape,
    "Conv": onnx_layers.conv,
    "ConvTranspose": onnx_layers.conv_transpose,
    "DepthToSpace": onnx_shapes.depth_to_space,
    "Dropout": _identity,
    "Elu": _simple(functional.elu, "alpha", alpha=1.0),
    "Expand": onnx_shapes.expand,
    "Flatten": onnx_shapes.flatten,
    "Gather": onnx_shapes.gather,
    "Gelu": _gelu,
    "Gemm": onnx_layers.gemm,
    "GroupNormalization": onnx_layers.group_normalization,
    "GridSample": _grid_sample,
    "HardSigmoid": _simple(_hard_sigmoid, "alpha", "beta", alpha=0.2, beta=0.5),
    "Identity": _identity,
    "InstanceNormalization": onnx_layers.instance_normalization,
    "LayerNormalization": onnx_layers.layer_normalization,
    "LeakyRelu": _simple(functional.leaky_relu, "alpha", alpha=0.01),
    "MatMul": onnx_layers.matmul,
    "Max": _many(torch.maximum),
    "MaxPool": _pool(functional.max_pool2d),
    "Min": _many(torch.minimum),
    "Mod": _simple(torch.remainder),
    "PRelu": onnx_layers.prelu,
    "Pad": onnx_shapes.pad,
    "ReduceL2": onnx_shapes.reduce(_length),
    "ReduceMax": onnx_shapes.reduce(torch.amax),
    "ReduceMean": onnx_shapes.reduce(torch.mean),
    "ReduceMin": onnx_shapes.reduce(torch.amin),
    "ReduceSum": onnx_shapes.reduce(torch.sum),
    "Reshape": onnx_shapes.reshape,
    "Resize": onnx_shapes.resize,
    "Shape": onnx_shapes.shape,
    "Slice": onnx_shapes.part,
    "Softmax": _simple(torch.softmax, "axis", axis=-1),
    "Split": onnx_shapes.split,
    "Squeeze": onnx_shapes.squeeze,
    "Sum": _many(torch.add),
    "Tile": onnx_shapes.tile,
    "Transpose": onnx_shapes.transpose,
    "Unsqueeze": onnx_shapes.unsqueeze,
    "Upsample": onnx_shapes.resize,
}
