"""Where the output of a layer goes, as far as codes can go with it.

Between two quantized layers there is often nothing but operators that move values, or bound them below by zero.
Rounding commutes with these: the first layer can put out the codes that the second reads, and rounds once instead of
twice.
"""

from collections.abc import Mapping

import torch
from torch import fx

aten = torch.ops.aten

MOVING = frozenset([
    aten.relu.default, aten.relu_.default, aten.max_pool2d.default,
    aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default,
    aten.pixel_shuffle.default, aten.pixel_unshuffle.default, aten.cat.default, aten.pad.default, aten.slice.Tensor,
    aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default,
    aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.permute.default, aten.transpose.int,
    aten.unsqueeze.default, aten.squeeze.dim, aten.contiguous.default, aten.clone.default,
])  # fmt: skip
"""Operators in eval mode whose results are values that they read, or zero."""


def readers_of(value: fx.Node, layers: Mapping[fx.Node, str]) -> tuple[str, ...]:
    """Names of the layers that alone read a value, through nothing but operators that commute with rounding.

    Args:
        value: in the graph that torch.export made.
        layers: names of the layers, by their nodes.

    Returns:
        Each once, in order; empty where anything else reads the value, too.
    """
    found: dict[str, None] = {}
    for user in value.users:
        if user in layers:
            names: tuple[str, ...] = (layers[user],)
        else:
            names = readers_of(user, layers) if user.target in MOVING and not _pads_another_value(user) else ()
        if not names:
            return ()
        found.update(dict.fromkeys(names))
    return tuple(found)


def _pads_another_value(node: fx.Node) -> bool:
    """Whether a node puts constants other than zero around maps, which the codes may not hold."""
    return node.target is aten.pad.default and len(node.args) > 3 and bool(node.args[3])
