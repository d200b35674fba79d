"""Finds the layers to which a layer's quantized output can be passed.

Between two quantized layers there is often nothing but operators that move values, or bound them below by zero.
Rounding commutes with these: the first layer can put out the codes that the second reads, and rounds once instead of
twice.
"""

from collections.abc import Mapping

from torch import fx

from ganpress.structure.function_graph import argument

MOVING = frozenset({
    "relu", "max_pool2d", "dropout", "pixel_shuffle", "pixel_unshuffle", "cat", "pad", "getitem", "narrow",
    "interpolate", "view", "reshape", "flatten", "unflatten", "permute", "transpose", "unsqueeze", "squeeze",
    "contiguous", "clone", "identity",
})  # fmt: skip
"""Functions in eval mode whose results are values that they read, or zero."""


def readers_of(value: fx.Node, layers: Mapping[fx.Node, str]) -> tuple[str, ...]:
    """Names of the layers that alone read a value, through nothing but operators that commute with rounding.

    Args:
        value: in a graph of `ganpress.structure.function_graph`.
        layers: names of the layers, by their nodes.

    Returns:
        Each once, in order; empty where anything else reads the value, too.
    """
    found: dict[str, None] = {}
    for user in value.users:
        if user in layers:
            names: tuple[str, ...] = (layers[user],)
        else:
            names = readers_of(user, layers) if _moves(user) else ()
        if not names:
            return ()
        found.update(dict.fromkeys(names))
    return tuple(found)


def _moves(node: fx.Node) -> bool:
    if node.target == "pad":  # constants other than zero may be none of the codes
        return argument(node, 2, "mode", "constant") != "constant" or not argument(node, 3, "value")
    if node.target == "interpolate":
        return bool(argument(node, 3, "mode", "nearest") == "nearest")
    if node.target == "getitem":
        parts = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        return all(part is None or part is Ellipsis or isinstance(part, slice) for part in parts)
    return node.target in MOVING
