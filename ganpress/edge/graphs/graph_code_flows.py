"""Passes quantized values directly from one integer layer to the next, where a graph would decode and encode them;
exact.

A layer whose output has the scale and the zero point that the next one reads puts out that one's codes
(`ganpress.compression.preparation.code_flows`). Decoding and encoding gives them back: code - zero point is at most
255, which the rounding of one product and one quotient in float32 does not move by half. What stands between moves
values or bounds them below by zero. It does so to codes as well, at a quarter of the bytes, and without the floats
between its kernels for which ONNX Runtime changes the layout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganpress.edge.graphs.graph_editing import array_of, constant, insert, replace

if TYPE_CHECKING:
    import onnx_ir

MOVING = frozenset(
    ["Identity", "Concat", "DepthToSpace", "SpaceToDepth", "Slice", "Reshape", "Transpose", "Flatten", "Unsqueeze",
     "Squeeze", "MaxPool"],
)  # fmt: skip
"""Operators whose results are values that they read; so are padding, and resizing to the nearest."""
COPYING_PADS = ("reflect", "edge", "wrap")
"""Ways of padding that copy pixels."""

Coding = tuple[bytes, int]
"""One scale, as its bytes, and one zero point."""


def pass_codes_(model: onnx_ir.Model) -> int:
    """Drop the decoding and encoding of codes that stay the same, and let what stands between move codes.

    Args:
        model: changed in place.

    Returns:
        How many encodings were dropped.
    """
    flow, dropped = _Flow(model.graph), 0
    for node in [one for one in model.graph if one.op_type == "QuantizeLinear"]:
        coding, data = _coding(node), node.inputs[0]
        codes = None if coding is None or data is None else flow.codes(data, coding)
        if codes is not None:
            replace(node.outputs[0], codes)
            model.graph.remove(node, safe=True)
            dropped += 1
    return dropped


def pad_mode(node: onnx_ir.Node) -> str:
    """How a Pad fills the border."""
    return node.attributes.get_string("mode", "constant")


def _coding(node: onnx_ir.Node) -> Coding | None:
    """What a node encodes or decodes with; None where that is not one constant scale for a whole tensor."""
    scale, zero = (array_of(one) for one in node.inputs[1:3]) if len(node.inputs) == 3 else (None, None)
    if scale is None or zero is None or scale.size != 1 or zero.dtype != np.uint8:
        return None
    return scale.tobytes(), int(zero.item())


class _Flow:
    """Tensors of a graph as codes."""

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self._graph = graph
        self._found: dict[tuple[onnx_ir.Value, Coding], onnx_ir.Value | None] = {}

    def codes(self, value: onnx_ir.Value, coding: Coding) -> onnx_ir.Value | None:
        """The codes of a tensor, computed without leaving codes; None where there is no such way."""
        key = (value, coding)
        if key not in self._found:
            producer = value.producer()
            self._found[key] = None if producer is None else self._made(producer, coding)
        return self._found[key]

    def _made(self, node: onnx_ir.Node, coding: Coding) -> onnx_ir.Value | None:
        if node.op_type == "DequantizeLinear":
            return node.inputs[0] if _coding(node) == coding else None
        if not self._moves(node):
            return None
        count = len(node.inputs) if node.op_type == "Concat" else 1
        inputs = [None if one is None else self.codes(one, coding) for one in node.inputs[:count]]
        if None in inputs:
            return None
        zero = coding[1]
        if node.op_type == "Relu":  # codes not below that of zero: all of them, where zero is the lowest code
            return inputs[0] if zero == 0 else insert(node, "Clip", inputs[0], self._zero(zero))
        inputs += node.inputs[count:]
        if node.op_type == "Pad" and pad_mode(node) not in COPYING_PADS:
            inputs[2:3] = [self._zero(zero)]
        return insert(node, node.op_type, *inputs, attributes=node.attributes)

    def _moves(self, node: onnx_ir.Node) -> bool:
        if node.op_type == "Resize":
            return node.attributes.get_string("mode", "nearest") == "nearest"
        if node.op_type == "Pad":
            return pad_mode(node) in COPYING_PADS or _pads_zeros(node)
        return node.op_type == "Relu" or (node.op_type in MOVING and len(node.outputs) == 1)

    def _zero(self, code: int) -> onnx_ir.Value:
        return constant(self._graph, np.asarray(code, np.uint8))


def _pads_zeros(node: onnx_ir.Node) -> bool:
    filled = node.inputs[2] if len(node.inputs) > 2 else None
    values = array_of(filled)
    return filled is None or (values is not None and not values.any())
