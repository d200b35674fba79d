"""Paddings on codes instead of reals, where it is the same: a graph moves a quarter of the bytes; exact.

A generator with reflected borders pads what an instance normalisation gives, and a quantized layer then rounds it.
Pixels are only copied, so that rounding first gives the same codes, and the border is copied as bytes.
"""

from typing import Any

COPYING_MODES = (b"reflect", b"edge", b"wrap")
"""Ways of padding that copy pixels; constants would have to become codes."""


def pad_codes_(proto: Any) -> int:
    """Let each padding of height and width whose only reader rounds its result come after the rounding.

    Args:
        proto: an ONNX model, changed in place.

    Returns:
        How many paddings moved.
    """
    graph = proto.graph
    constants = {one.name: one for one in graph.initializer}
    readers: dict[str, int] = {}
    for name in (*(name for node in graph.node for name in node.input), *(one.name for one in graph.output)):
        readers[name] = readers.get(name, 0) + 1
    pads = {node.output[0]: node for node in graph.node if _copies_pixels(node, constants)}
    moved = 0
    for node in graph.node:
        pad = pads.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if pad is not None and readers[pad.output[0]] == 1:
            _exchange_(pad, node)
            moved += 1
    return moved


def _exchange_(first: Any, second: Any) -> None:
    """Let two nodes in a row trade what they do; they keep their places, in which the graph can run."""
    does_first, does_second = type(second)(), type(first)()
    does_first.CopyFrom(second)
    does_second.CopyFrom(first)
    does_first.input[0], does_first.output[0] = first.input[0], first.output[0]
    does_second.input[0], does_second.output[0] = second.input[0], second.output[0]
    first.CopyFrom(does_first)
    second.CopyFrom(does_second)


def _copies_pixels(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a node pads height and width by copies, of all channels alike."""
    from onnx import numpy_helper

    if node.op_type != "Pad" or not any(one.name == "mode" and one.s in COPYING_MODES for one in node.attribute):
        return False
    if node.input[1] not in constants or (len(node.input) > 3 and node.input[3]):  # unknown widths, or axes by name
        return False
    widths = numpy_helper.to_array(constants[node.input[1]])
    return len(widths) == 8 and not widths[[0, 1, 4, 5]].any()
