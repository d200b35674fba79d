"""Rewrites a traced generator into operators that XNNPACK computes; exact.

XNNPACK has no instance normalisation, no reflection padding and no nearest resizing. An operator that it does not
support splits a program into parts with layout conversions between them, and runs on ExecuTorch's portable kernels,
which are loops without vector instructions. Here each such operator is written with operators that XNNPACK lists
(`executorch.backends.xnnpack.partition.config`). The graph of `torch.export` is rewritten, so it does not matter
whether a generator calls a module or a function.

Each replacement is a call of a function of this module. The call becomes operators only when the graph is exported
again, so that a quantizer finds no arithmetic to round in it.

Shapes: N batch, C channels, H W size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional

aten = torch.ops.aten

VIEWS = (aten.unsqueeze.default, aten.view.default, aten.reshape.default, aten.slice.Tensor)
ARITHMETIC = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)
BORDERS = ("reflect", "replicate")
GROUPED_CHANNELS = 16
"""Channels that are enlarged in one group; with one channel each, XNNPACK's transposed convolution is four times
slower.
"""


def rewrite_(graph: fx.GraphModule) -> None:
    """Replace operators that XNNPACK does not support by others.

    Args:
        graph: the graph of `torch.export`, with shapes; it is changed in place, and must be exported again.
    """
    for node in list(graph.graph.nodes):
        if node.target is aten.conv2d.default:
            _merge_downsampling_(node)
    graph.graph.eliminate_dead_code()
    for node in list(graph.graph.nodes):
        if node.target is aten.pad.default:
            node.target = pad
        elif node.target is aten.instance_norm.default:
            _rewrite_norm_(graph, node)
        elif node.target is aten.upsample_nearest2d.vec:
            _rewrite_resizing_(graph, node)
        elif node.target is aten.add.Tensor and _is_zero(graph, node.args[1]):
            node.replace_all_uses_with(node.args[0])  # see `models.quantized_network.take_out_`
        elif node.target in ARITHMETIC:
            _rewrite_number_(graph, node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    eps: Tensor,
) -> Tensor:
    """Instance normalisation (Ulyanov et al. 2016, eq. 5) by means and products, (N, C, H, W) -> (N, C, H, W).

    The variance is computed from the centred values in a second pass: a mean of squares minus a squared mean would
    cancel if a channel's mean is far from zero. All constants have four axes, `eps` (1, 1, 1, 1), so that they have the
    pictures' layout.
    """
    if use_input_stats or running_mean is None or running_var is None:
        centred = x - x.mean((2, 3), keepdim=True)
        variance = (centred * centred).mean((2, 3), keepdim=True)  # (N, C, 1, 1)
    else:
        centred, variance = x - _channels(running_mean), _channels(running_var)
    result = centred * torch.rsqrt(variance + eps)
    if weight is not None:
        result = result * _channels(weight)
    return result if bias is None else result + _channels(bias)


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pad pictures (N, C, H, W) by repeating or reflecting pixels, with concatenated slices."""
    if mode not in BORDERS or x.dim() != 4 or len(pad) != 4 or min(pad) < 0:
        return functional.pad(x, list(pad), mode, value)
    left, right, top, bottom = pad
    return _framed(_framed(x, 2, top, bottom, mode), 3, left, right, mode)


def enlarge(x: Tensor, kernel: Tensor) -> Tensor:
    """Repeat pixels, (N, C, H, W) -> (N, C, a H, b W), by a transposed convolution with `repeating_kernel`."""
    return functional.conv_transpose2d(x, kernel, stride=kernel.shape[2:], groups=x.shape[1] // kernel.shape[1])


def repeating_kernel(channels: int, height: int, width: int) -> Tensor:
    """Return a kernel of ones from each channel to itself, (C, channels of a group, a, b).

    Channels are in groups, because a kernel from all channels to all would have C * C parts.
    """
    together = next(count for count in (GROUPED_CHANNELS, 8, 4, 2, 1) if channels % count == 0)
    kernel = torch.eye(together).repeat(channels // together, 1)
    return kernel[:, :, None, None].expand(-1, -1, height, width).contiguous()


def _channels(values: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, 1)."""
    return values.reshape(1, -1, 1, 1)


def _framed(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Add `before` and `after` lines to pictures along an axis. Only the last `cat` copies the picture."""
    last = x.shape[axis] - 1
    if mode == "reflect":
        places = [list(range(before, 0, -1)), list(range(last - 1, last - 1 - after, -1))]
    else:
        places = [[0] * before, [last] * after]
    first, second = ([x.narrow(axis, place, 1) for place in side] for side in places)
    parts = [torch.cat(side, axis) if len(side) > 1 else side[0] for side in (first, [x], second) if side]
    return torch.cat(parts, axis) if len(parts) > 1 else x


def _merge_downsampling_(node: fx.Node) -> None:
    """Let a convolution read every k-th pixel itself if its input is a picture resized by 1 / k.

    Nearest resizing by 1 / k keeps pixels 0, k, 2 k, …; a convolution of the result with stride s, dilation d and
    padding p equals a convolution of the picture itself with k s, k d and k p. Each layer of SPADE reads its label map
    in this way.
    """
    arguments: tuple[Any, ...] = (*node.args, *(None, 1, 0, 1, 1)[len(node.args) - 2 :])
    smaller, weight, bias, *steps, groups = arguments  # steps: stride, padding, dilation
    if smaller.target is not aten.upsample_nearest2d.vec:
        return
    after, before = _sizes(smaller)
    factors = tuple(old // new for old, new in zip(before, after, strict=True))
    if any(k * new != old for k, old, new in zip(factors, before, after, strict=True)) or not _exact(smaller, factors):
        return
    steps = [[k * one for k, one in zip(factors, _pair(each), strict=True)] for each in steps]
    node.args = (smaller.args[0], weight, bias, *steps, groups)


def _is_zero(graph: fx.GraphModule, node: object) -> bool:
    """Whether a node is a constant of zeros of any shape."""
    while isinstance(node, fx.Node) and node.target in VIEWS:
        node = node.args[0]
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return False
    owner, _, leaf = str(node.target).rpartition(".")
    value = getattr(graph.get_submodule(owner), leaf)
    return isinstance(value, Tensor) and not bool(value.any())


def _rewrite_norm_(graph: fx.GraphModule, node: fx.Node) -> None:
    arguments: tuple[Any, ...] = node.args
    *first, _, eps, _ = arguments  # without momentum and cudnn_enabled
    values = arguments[0].meta["val"]
    if values.dim() == 4:
        node.target = instance_norm
        node.args = (*first, _constant(graph, node, torch.full((1, 1, 1, 1), eps, dtype=values.dtype)))


def _rewrite_number_(graph: fx.GraphModule, node: fx.Node) -> None:
    """Give an added or multiplied number four axes; a number without axes would change the layout of pictures."""
    values = node.meta["val"]
    if values.dim() == 4 and values.is_floating_point():
        node.args = tuple(
            _constant(graph, node, torch.full((1, 1, 1, 1), one, dtype=values.dtype))
            if isinstance(one, int | float)
            else one
            for one in node.args
        )


def _rewrite_resizing_(graph: fx.GraphModule, node: fx.Node) -> None:
    """Rewrite resizing by whole factors; any other resizing stays."""
    picture: Any = node.args[0]
    after, before = _sizes(node)
    factors = tuple(new // old for new, old in zip(after, before, strict=True))
    if any(k * old != new for k, old, new in zip(factors, before, after, strict=True)):
        return
    if max(factors) == 1:
        node.replace_all_uses_with(picture)
        return
    values = picture.meta["val"]
    kernel = repeating_kernel(values.shape[1], *factors).to(values.dtype)
    node.args = (picture, _constant(graph, node, kernel))
    node.target = enlarge


def _sizes(node: fx.Node) -> tuple[Sequence[int], Sequence[int]]:
    """Return height and width of a resizing's output and of its input."""
    picture: Any = node.args[0]
    return node.meta["val"].shape[2:], picture.meta["val"].shape[2:]


def _exact(node: fx.Node, factors: Sequence[int]) -> bool:
    """Whether the scales of a resizing, if it has any, are one over whole numbers."""
    arguments: tuple[Any, ...] = (*node.args, None)
    scales = arguments[2]
    return scales is None or all(scale == 1 / k for scale, k in zip(scales, factors, strict=True))


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def _constant(graph: fx.GraphModule, before: fx.Node, value: Tensor) -> fx.Node:
    """Store a value in the graph as a constant, because XNNPACK takes no computed weights."""
    name = f"{before.name}_constant"
    graph.register_buffer(name, value)
    with graph.graph.inserting_before(before):
        return graph.graph.get_attr(name)
