"""Derives the receptive field of a generator's output pixels from the functions that the network calls.

Demands are walked backwards: a pixel of the result needs an interval of rows (or columns) of what the last function
read, that interval needs another one further back, and so on to the input. Positions are those inside a very large
picture, so that borders play no part.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from ganpress.structure.function_graph import Untraceable, argument, shape_of, trace_functions

AXES = (2, 3)
Places = NDArray[np.int64]


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of an output pixel, in pixels of the input."""

    reach: int | None
    """Distance of the farthest pixel on which it depends; None if it may depend on the whole picture."""
    stride: int
    """Number of pixels by which the input can be shifted so that the result is only shifted."""


@dataclass(frozen=True)
class _Step:
    """One function along one axis."""

    factor: Fraction = Fraction(1)
    """Number of output pixels for each input pixel."""
    needs: Callable[[Places, Places], tuple[Places, Places]] = lambda first, last: (first, last)
    """Function from the first and last output pixels to the first and last input pixels."""
    everywhere: bool = False
    """Whether each output pixel depends on all input pixels."""


class _Unknown(Exception):
    """A function whose dependencies between pixels are unknown."""


def receptive_field(model: nn.Module, example: Tensor) -> ReceptiveField:
    """Derive the receptive field of a fully convolutional network.

    Args:
        model: a network of one picture.
        example: pictures (N, C, H, W) that it can run; their size does not matter.

    Returns:
        Reach None and stride 1 if the network calls an unknown function, or needs more than shapes.
    """
    try:
        if example.dim() != 4:
            raise _Unknown("latents have no pixels")
        with torch.device("meta"):  # shapes suffice, and a large network's maps would take gigabytes
            graph = trace_functions(copy.deepcopy(model).to("meta"), example[:1].to("meta"))
        axes = [_along(graph, axis) for axis in AXES]
    except (_Unknown, Untraceable, RuntimeError, NotImplementedError):  # torch raises the last two where numbers lack
        return ReceptiveField(None, 1)
    reaches = [one.reach for one in axes if one.reach is not None]
    return ReceptiveField(max(reaches) if len(reaches) == len(AXES) else None, math.lcm(*(one.stride for one in axes)))


def _along(graph: fx.Graph, axis: int) -> ReceptiveField:
    nodes = [node for node in graph.nodes if node.meta.get("computed")]
    steps = {node: _step(node, axis) for node in nodes if node.op == "call_method"}
    scales: dict[fx.Node, Fraction] = {nodes[0]: Fraction(1)}
    for node, step in steps.items():
        read = {scales[one] * step.factor for one in node.all_input_nodes if one in scales}
        if len(read) != 1:
            raise _Unknown("maps of several scales are joined")
        scales[node] = read.pop()
    (result,) = (node for node in graph.nodes if node.op == "output")
    last = result.args[0]
    if not isinstance(last, fx.Node) or last not in scales:
        raise _Unknown("the result does not depend on the input")
    stride = math.lcm(*(scale.denominator for scale in scales.values()))
    if any(step.everywhere for step in steps.values()):
        return ReceptiveField(None, stride)
    return ReceptiveField(_reach(steps, scales, last, stride), stride)


def _reach(steps: dict[fx.Node, _Step], scales: dict[fx.Node, Fraction], last: fx.Node, stride: int) -> int:
    """Walk back from each pixel of one period of the result, far inside a picture."""
    scale = scales[last]
    far = 2**20 * stride
    wanted = int(far * scale) + np.arange(int(stride * scale), dtype=np.int64)
    needed = {last: (wanted, wanted)}
    source = None
    for node in reversed(list(scales)):
        if node not in needed:
            continue  # a result that nothing reads
        if node not in steps:
            source = needed[node]
            continue
        first, end = steps[node].needs(*needed[node])
        for one in (one for one in node.all_input_nodes if one in scales):
            old = needed.get(one, (first, end))
            needed[one] = (np.minimum(old[0], first), np.maximum(old[1], end))
    assert source is not None  # the result depends on the input
    own = (wanted * scale.denominator) // scale.numerator
    return max(0, int((own - source[0]).max()), int((source[1] - own).max()))


def _step(node: fx.Node, axis: int) -> _Step:
    if len(shape_of(node)) != 4:
        raise _Unknown(f"{node.target} puts out no maps")
    name = str(node.target)
    constants = (one for one in node.all_input_nodes if not one.meta["computed"])
    if name not in OF_CHANNELS and any(max(shape_of(one)[-2:], default=1) > 1 for one in constants):
        raise _Unknown("a constant that differs between pixels")
    if name in POINTWISE:
        return _Step()
    if name in NORMS:
        return _Step(everywhere=name != "batch_norm" or bool(argument(node, 5, "training", False)))
    if name not in STEPS:
        raise _Unknown(name)
    return STEPS[name](node, axis)


def _on(value: int | Sequence[int], axis: int) -> int:
    """An argument of a layer, which is one number, or one for each axis."""
    values = [value] if isinstance(value, int) else list(value)
    return values[axis - AXES[0]] if len(values) > 1 else values[0]


def _window(kernel: int, stride: int, padding: int) -> _Step:
    return _Step(
        Fraction(1, stride), lambda first, last: (first * stride - padding, last * stride - padding + kernel - 1)
    )


def _convolution(node: fx.Node, axis: int) -> _Step:
    weight: Any = node.args[1] if len(node.args) > 1 else node.kwargs["weight"]
    dilation = _on(argument(node, 5, "dilation", 1), axis)
    kernel = (shape_of(weight)[axis] - 1) * dilation + 1
    padding: Any = argument(node, 4, "padding", 0)
    if isinstance(padding, str):
        padding = 0 if padding == "valid" else (kernel - 1) // 2
    return _window(kernel, _on(argument(node, 3, "stride", 1), axis), _on(padding, axis))


def _transposed_convolution(node: fx.Node, axis: int) -> _Step:
    weight: Any = node.args[1] if len(node.args) > 1 else node.kwargs["weight"]
    kernel = (shape_of(weight)[axis] - 1) * _on(argument(node, 7, "dilation", 1), axis) + 1
    stride, padding = _on(argument(node, 3, "stride", 1), axis), _on(argument(node, 4, "padding", 0), axis)
    return _Step(
        Fraction(stride),
        lambda first, last: (-((kernel - 1 - padding - first) // stride), (last + padding) // stride),
    )


def _pooling(node: fx.Node, axis: int) -> _Step:
    kernel: Any = argument(node, 1, "kernel_size")
    stride: Any = argument(node, 2, "stride") or kernel
    options = {"dilation": (1, (1, 1), [1, 1]), "ceil_mode": (False,)}
    if any(node.kwargs.get(name, allowed[0]) not in allowed for name, allowed in options.items()):
        raise _Unknown("pooling with options")
    return _window(_on(kernel, axis), _on(stride, axis), _on(argument(node, 3, "padding", 0), axis))


def _padding(node: fx.Node, axis: int) -> _Step:
    pads: Any = argument(node, 1, "pad")
    if argument(node, 2, "mode", "constant") == "circular":
        raise _Unknown("padding by the other end")
    place = 2 * (3 - axis)  # torch counts from the last axis
    before = pads[place] if place < len(pads) else 0
    return _Step(needs=lambda first, last: (first - before, last - before))


def _resizing(node: fx.Node, axis: int) -> _Step:
    read: Any = node.args[0]
    factor = Fraction(shape_of(node)[axis], shape_of(read)[axis])
    mode = argument(node, 3, "mode", "nearest")
    if mode == "nearest":
        return _Step(factor, lambda first, last: (_down(first, factor), _down(last, factor)))
    if mode != "bilinear" or argument(node, 4, "align_corners") or node.kwargs.get("antialias"):
        raise _Unknown(f"interpolation '{mode}'")

    def needs(first: Places, last: Places) -> tuple[Places, Places]:
        """Read the pixels on both sides of (x + 1/2) / factor - 1/2."""
        before, after = (
            ((2 * one + 1) * factor.denominator - factor.numerator) // (2 * factor.numerator) for one in (first, last)
        )
        return before, after + 1

    return _Step(factor, needs)


def _down(places: Places, factor: Fraction) -> Places:
    return places * factor.denominator // factor.numerator


def _shuffle(node: fx.Node, axis: int) -> _Step:  # noqa: ARG001 - both axes are alike
    factor: Any = argument(node, 1, "upscale_factor")
    return _Step(Fraction(factor), lambda first, last: (first // factor, last // factor))


def _unshuffle(node: fx.Node, axis: int) -> _Step:  # noqa: ARG001 - both axes are alike
    factor: Any = argument(node, 1, "downscale_factor")
    return _Step(Fraction(1, factor), lambda first, last: (first * factor, last * factor + factor - 1))


def _slicing(node: fx.Node, axis: int) -> _Step:
    index: Any = node.args[1]
    parts = list(index) if isinstance(index, tuple | list) else [index]
    if not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
        raise _Unknown("an index")
    start = (parts[axis].start or 0) if axis < len(parts) else 0
    if start < 0:
        raise _Unknown("a slice from the end")
    return _Step(needs=lambda first, last: (first + start, last + start))


def _joining_or_parting(place: int) -> Callable[[fx.Node, int], _Step]:
    """A function of channels; `place` is that of its argument `dim`."""

    def step(node: fx.Node, axis: int) -> _Step:
        dim: Any = argument(node, place, "dim", 0)
        if dim % 4 == axis:
            raise _Unknown("maps side by side are joined or parted")
        return _Step()

    return step


POINTWISE = frozenset({
    "abs", "add", "clamp", "clone", "contiguous", "cos", "div", "dropout", "elu", "exp", "gelu", "hardsigmoid",
    "hardswish", "hardtanh", "identity", "leaky_relu", "mish", "mul", "neg", "part", "pow", "prelu", "relu", "relu6",
    "rsub", "sigmoid", "silu", "sin", "softplus", "sqrt", "sub", "tanh", "truediv",
})  # fmt: skip
"""Functions whose pixels depend only on the pixel at the same position."""
NORMS = frozenset({"batch_norm", "instance_norm", "group_norm"})
"""Functions that keep the size; but for the first with running statistics, each pixel depends on all."""
OF_CHANNELS = frozenset({"conv2d", "conv_transpose2d", "prelu", *NORMS})
"""Functions whose constants are alike at all places of a map."""
STEPS: dict[str, Callable[[fx.Node, int], _Step]] = {
    "conv2d": _convolution, "conv_transpose2d": _transposed_convolution, "max_pool2d": _pooling,
    "avg_pool2d": _pooling, "pad": _padding, "interpolate": _resizing, "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _unshuffle, "getitem": _slicing, "cat": _joining_or_parting(1),
    "chunk": _joining_or_parting(2), "split": _joining_or_parting(2),
}  # fmt: skip
"""Dependencies of each function's pixels, by the function's name."""
