"""Rewriting of a traced generator into operators that XNNPACK computes; exact.

XNNPACK has no instance normalisation, no reflected border and no resizing to the nearest pixel. What it does not take
splits a program into pieces with conversions of layout between them, and runs on ExecuTorch's portable kernels, which
are loops without vectors. Each operator here is written in terms of those that XNNPACK lists
(`executorch.backends.xnnpack.partition.config`). It is the graph of `torch.export` that is rewritten, so that it does
not matter whether a generator calls a module or a function.

Shapes: N batch, C channels, H W size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional

aten = torch.ops.aten

BORDERS = ("reflect", "replicate")
GROUPED_CHANNELS = 16
"""Channels that are made larger together; with one each XNNPACK's transposed convolution is four times slower."""


def merge_downsampling_(graph: fx.GraphModule) -> None:
    """Let convolutions read every k-th pixel themselves, where their input is a picture made smaller by a whole k.

    Resizing to the nearest pixel by k keeps pixels 0, k, 2 k, …; a convolution of stride s, dilation d and padding p
    of what is kept is the convolution of the picture itself with k s, k d and k p. SPADE reads its label map so in each
    of its layers.

    Args:
        graph: as `torch.export` makes it, with shapes; changed in place.
    """
    for node in list(graph.graph.nodes):
        if node.target is not aten.conv2d.default:
            continue
        factor = _downsampling(node.args[0])
        if factor is None:
            continue
        smaller, weight, bias, stride, padding, dilation, groups = _convolution(node)
        steps = ([k * one for k, one in zip(factor, _pair(each), strict=True)] for each in (stride, padding, dilation))
        node.args = (smaller.args[0], weight, bias, *steps, groups)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def rewrite_(graph: fx.GraphModule) -> None:
    """Write operators that XNNPACK does not take in terms of others; `graph` has to be exported again.

    Args:
        graph: as `torch.export` makes it or PT2E has quantized it; changed in place.
    """
    for node in graph.graph.nodes:
        if node.op == "call_function":
            node.target = REWRITINGS.get(node.target, node.target)
    graph.recompile()


def instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,  # noqa: ARG001
) -> Tensor:
    """Instance normalisation (Ulyanov et al. 2016, eq. 5) by means and products, (N, C, H, W) -> (N, C, H, W).

    The variance is that of the centred values, by a second pass: a mean of squares less a squared mean would cancel
    where a channel's mean is far from zero. All constants have four axes, so that the layout of pictures fits them.
    """
    if x.dim() != 4 or not (use_input_stats or (running_mean is not None and running_var is not None)):
        return functional.instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    if use_input_stats or running_mean is None or running_var is None:
        centred = x - x.mean((2, 3), keepdim=True)
        variance = (centred * centred).mean((2, 3), keepdim=True)  # (N, C, 1, 1)
    else:
        centred, variance = x - _channels(running_mean), _channels(running_var)
    result = centred * torch.rsqrt(variance + _constant(np.full((1, 1, 1, 1), eps), x))
    if weight is not None:
        result = result * _channels(weight)
    return result if bias is None else result + _channels(bias)


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Padding of pictures (N, C, H, W) whose borders repeat or reflect pixels, by slices put side by side."""
    if mode not in BORDERS or x.dim() != 4 or len(pad) != 4 or min(pad) < 0:
        return functional.pad(x, list(pad), mode, value)
    left, right, top, bottom = pad
    return _framed(_framed(x, 2, top, bottom, mode), 3, left, right, mode)


def upsample_nearest2d(x: Tensor, output_size: Sequence[int] | None, scale_factors: Sequence[float] | None) -> Tensor:
    """Resizing to the nearest pixel, (N, C, H, W) -> (N, C, a H, b W); for whole a and b by a transposed convolution.

    Its kernel is a x b ones for each channel with itself. Channels go in groups, which XNNPACK multiplies faster than
    one by one.
    """
    if output_size is None:
        assert scale_factors is not None  # the operator has one of both
        sizes = [int(size * scale) for size, scale in zip(x.shape[2:], scale_factors, strict=True)]
    else:
        sizes = list(output_size)
    height, width = (size // before for size, before in zip(sizes, x.shape[2:], strict=True))
    if [height * x.shape[2], width * x.shape[3]] != sizes:
        return functional.interpolate(x, sizes, mode="nearest")
    channels = x.shape[1]
    together = next(count for count in (GROUPED_CHANNELS, 8, 4, 2, 1) if channels % count == 0)
    ones = np.eye(together)[:, :, None, None] * np.ones((height, width))
    kernel = _constant(np.tile(ones, (channels // together, 1, 1, 1)), x)
    return functional.conv_transpose2d(x, kernel, stride=(height, width), groups=channels // together)


REWRITINGS: dict[object, Callable[..., Tensor]] = {
    aten.instance_norm.default: instance_norm,
    aten.pad.default: pad,
    aten.upsample_nearest2d.vec: upsample_nearest2d,
}
"""What takes the place of each operator, with its arguments."""


def _constant(values: "np.ndarray[Any, np.dtype[np.float64]]", like: Tensor) -> Tensor:
    """A constant of the graph, in its type from the start: XNNPACK takes no weights that are converted in the graph."""
    return torch.tensor(values if like.dtype == torch.float64 else values.astype(np.float32))


def _channels(values: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, 1)."""
    return values.reshape(1, -1, 1, 1)


def _framed(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Pictures with `before` and `after` lines more along an axis. Only the last `cat` copies the picture."""
    last = x.shape[axis] - 1
    if mode == "reflect":
        places = [list(range(before, 0, -1)), list(range(last - 1, last - 1 - after, -1))]
    else:
        places = [[0] * before, [last] * after]
    first, second = ([x.narrow(axis, place, 1) for place in side] for side in places)
    parts = [torch.cat(side, axis) if len(side) > 1 else side[0] for side in (first, [x], second) if side]
    return torch.cat(parts, axis) if len(parts) > 1 else x


def _downsampling(node: object) -> tuple[int, ...] | None:
    """By which whole numbers a node makes its pictures smaller; None where it does not, or does not by whole ones."""
    if not isinstance(node, fx.Node) or node.target is not aten.upsample_nearest2d.vec:
        return None
    arguments: tuple[Any, ...] = (*node.args, None)
    picture, _, scales = arguments[:3]
    before, after = picture.meta["val"].shape[2:], node.meta["val"].shape[2:]
    factors = tuple(old // new for old, new in zip(before, after, strict=True))
    if any(k * new != old for k, old, new in zip(factors, before, after, strict=True)) or max(factors) == 1:
        return None
    exact = scales is None or all(scale == 1 / k for scale, k in zip(scales, factors, strict=True))
    return factors if exact else None


def _convolution(node: fx.Node) -> tuple[Any, ...]:
    """Arguments of a conv2d, the defaults with them: input, weight, bias, stride, padding, dilation, groups."""
    return (*node.args, *(None, 1, 0, 1, 1)[len(node.args) - 2 :])


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
