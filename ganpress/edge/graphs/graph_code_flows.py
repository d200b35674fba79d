"""Passes quantized values directly from one integer layer to the next, without decoding and encoding them; exact.

If a layer's output has the scale and the zero point of the next layer's input, both use the same codes
(`ganpress.compression.preparation.code_flows`). Decoding and encoding them again changes nothing: code - zero point is
at most 255, and the rounding of one product and one quotient in float32 moves that by less than a half. The operators
between the two layers only move values or bound them below by zero. They can do this to codes as well, with a quarter
of the bytes, and ONNX Runtime then does not change the layout of floats between its kernels.
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
"""Operators whose results are copies of their inputs' values; padding and nearest resizing are handled apart."""
COPYING_PADS = ("reflect", "edge", "wrap")
"""Padding modes that copy pixels."""

Coding = tuple[bytes, int]
"""The bytes of one scale, and one zero point."""


def pass_codes_(model: onnx_ir.Model) -> int:
    """Remove decoding and encoding of codes that stay the same, and let the operators between them move codes.

    Args:
        model: changed in place.

    Returns:
        The number of encodings that were removed.
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
    """Return the mode in which a Pad fills the border."""
    return node.attributes.get_string("mode", "constant")


def _coding(node: onnx_ir.Node) -> Coding | None:
    """Return a node's scale and zero point; None unless both are one constant for the whole tensor."""
    scale, zero = (array_of(one) for one in node.inputs[1:3]) if len(node.inputs) == 3 else (None, None)
    if scale is None or zero is None or scale.size != 1 or zero.dtype != np.uint8:
        return None
    return scale.tobytes(), int(zero.item())


class _Flow:
    """Finds the codes of a graph's tensors."""

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self._graph = graph
        self._found: dict[tuple[onnx_ir.Value, Coding], onnx_ir.Value | None] = {}

    def codes(self, value: onnx_ir.Value, coding: Coding) -> onnx_ir.Value | None:
        """Return the codes of a tensor, computed from codes alone; None if that is not possible."""
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
        if node.op_type == "Relu":  # clips at the zero point, which changes nothing if that is 0
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
