"""Finds the layers to which a layer's quantized output can be passed.

Between two quantized layers there are often only operators that move values, or bound them below by zero. Rounding
commutes with these, so the first layer's output can be quantized for the second layer's input, and is rounded once
instead of twice.
"""

from collections.abc import Mapping

from torch import fx

from ganpress.structure.function_graph import argument

MOVING = frozenset({
    "relu", "max_pool2d", "dropout", "pixel_shuffle", "pixel_unshuffle", "cat", "pad", "getitem", "narrow",
    "interpolate", "view", "reshape", "flatten", "unflatten", "permute", "transpose", "unsqueeze", "squeeze",
    "contiguous", "clone", "identity",
})  # fmt: skip
"""Functions whose results in eval mode are values of their input, or zero."""


def readers_of(value: fx.Node, layers: Mapping[fx.Node, str]) -> tuple[str, ...]:
    """Return the names of the layers that read a value, if they are its only readers, behind operators that commute
    with rounding.

    Args:
        value: a node in a graph of `ganpress.structure.function_graph`.
        layers: names of the layers, by their nodes.

    Returns:
        Each name once, in order; empty if anything else reads the value.
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
    if node.target == "pad":  # a constant other than zero may not be representable
        return argument(node, 2, "mode", "constant") != "constant" or not argument(node, 3, "value")
    if node.target == "interpolate":
        return bool(argument(node, 3, "mode", "nearest") == "nearest")
    if node.target == "getitem":
        parts = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        return all(part is None or part is Ellipsis or isinstance(part, slice) for part in parts)
    return node.target in MOVING
