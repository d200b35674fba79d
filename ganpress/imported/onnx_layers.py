"""ONNX operators that become layers: convolutions, matrix products with weights, normalisations, PReLU."""

import math
from typing import Any

import torch
from torch.nn import functional

from ganpress.imported import graph_layers
from ganpress.imported.onnx_shapes import torch_pads
from ganpress.imported.onnx_translation import Translation, Value, optional


def conv(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], optional(inputs, 2)
    if not weight.is_constant or (bias is not None and not bias.is_constant):
        raise of.refused("computes its weights")
    axes = weight.example.dim() - 2
    stride, dilation = (tuple(attributes.get(name, [1] * axes)) for name in ("strides", "dilations"))
    pads = _pads(attributes, axes, x.example.shape[2:], tuple(weight.example.shape[2:]), stride, dilation)
    begin, end = pads[:axes], pads[axes:]
    if begin != end:
        x, begin = of.call(functional.pad, x, torch_pads(pads)), [0] * axes
    made = graph_layers.convolution(
        weight.example,
        None if bias is None else bias.example,
        stride,
        tuple(begin),
        dilation,
        attributes.get("group", 1),
    )
    return of.layer(weight.name, made, x)


def conv_transpose(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], optional(inputs, 2)
    if not weight.is_constant or "output_shape" in attributes or attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise of.refused("computes its weights, or is told the size of its output")
    axes = weight.example.dim() - 2
    stride, dilation = (tuple(attributes.get(name, [1] * axes)) for name in ("strides", "dilations"))
    pads, more = list(attributes.get("pads", [0] * 2 * axes)), tuple(attributes.get("output_padding", [0] * axes))
    begin, end = pads[:axes], pads[axes:]
    common = tuple(map(min, begin, end))
    made = graph_layers.convolution(
        weight.example,
        None if bias is None else bias.example,
        stride,
        common,
        dilation,
        attributes.get("group", 1),
        more,
    )
    result = of.layer(weight.name, made, x)
    rest = [common[place % axes] - pad for place, pad in enumerate(pads)]
    return result if not any(rest) else of.call(functional.pad, result, torch_pads(rest))


def _pads(
    attributes: dict[str, Any],
    axes: int,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[int]:
    """Pads before all axes, then behind them."""
    how = attributes.get("auto_pad", "NOTSET")
    if how in ("NOTSET", "VALID"):
        return list(attributes.get("pads", [0] * 2 * axes)) if how == "NOTSET" else [0] * 2 * axes
    total = [
        max(0, (math.ceil(one / step) - 1) * step + (width - 1) * spread + 1 - one)
        for one, width, step, spread in zip(size, kernel, stride, dilation, strict=True)
    ]
    small, large = [one // 2 for one in total], [one - one // 2 for one in total]
    return [*small, *large] if how == "SAME_UPPER" else [*large, *small]


def gemm(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], optional(inputs, 2)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    if attributes.get("transA", 0) or not weight.is_constant or (bias is not None and not bias.is_constant):
        raise of.refused("computes its weights, or transposes what it reads")
    matrix = weight.example if attributes.get("transB", 0) else weight.example.T
    added = None if bias is None else (bias.example * beta).expand(len(matrix))
    return of.layer(weight.name, graph_layers.dense(matrix * alpha, added), x)


def matmul(of: Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    x, weight = inputs
    if weight.is_constant and not x.is_constant and weight.example.dim() == 2:
        return of.layer(weight.name, graph_layers.dense(weight.example.T, None), x)
    return of.call(torch.matmul, x, weight)


def batch_normalization(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, *rest = inputs
    if attributes.get("training_mode", 0) or not all(one.is_constant for one in rest):
        raise of.refused("is in training mode, or computes its weights")
    weight, bias, mean, variance = (one.example for one in rest)
    eps, axes = attributes.get("epsilon", 1e-5), x.example.dim() - 2
    return of.layer(rest[0].name, graph_layers.batch_norm(weight, bias, mean, variance, eps, axes), x)


def instance_normalization(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs
    if not (weight.is_constant and bias.is_constant):
        raise of.refused("computes its weights")
    plain = bool((weight.example == 1).all() and (bias.example == 0).all())
    scale, shift = (None, None) if plain else (weight.example, bias.example)
    made = graph_layers.instance_norm(
        x.example.shape[1], scale, shift, attributes.get("epsilon", 1e-5), x.example.dim() - 2
    )
    return of.layer(weight.name, made, x)


def group_normalization(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs
    channels = x.example.shape[1]
    each = channels // weight.example.numel()
    scale, shift = (one.example.repeat_interleave(each) for one in (weight, bias))
    made = graph_layers.group_norm(attributes["num_groups"], channels, scale, shift, attributes.get("epsilon", 1e-5))
    return of.layer(weight.name, made, x)


def layer_normalization(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], optional(inputs, 2)
    axis = attributes.get("axis", -1) % x.example.dim()
    shape = list(x.example.shape[axis:])
    return of.call(functional.layer_norm, x, shape, weight, bias, attributes.get("epsilon", 1e-5))


def prelu(of: Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    x, slopes = inputs
    if slopes.is_constant and slopes.example.numel() in (1, x.example.shape[1]):
        return of.layer(slopes.name, graph_layers.prelu(slopes.example), x)
    return of.call(torch.where, of.call(torch.ge, x, 0), x, of.call(torch.mul, x, slopes))
