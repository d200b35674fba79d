"""Codes that flow from one integer layer to the next, where a graph decodes and encodes them in between; exact.

A layer whose output has the scale and the zero point that the next one reads puts out that one's codes
(`ganpress.compression.preparation.code_flows`). Decoding and encoding gives them back: code - zero point is at most
255, which the rounding of one product and one quotient in float32 does not move by half. What stands between moves
values or bounds them below by zero. It does so to codes as well, at a quarter of the bytes, and without the floats
between its kernels for which ONNX Runtime changes the layout.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpress.edge.graphs.onnx_surgery import fresh_names

MOVING = frozenset(
    ["Identity", "Concat", "DepthToSpace", "SpaceToDepth", "Slice", "Reshape", "Transpose", "Flatten", "Unsqueeze",
     "Squeeze", "MaxPool"],
)  # fmt: skip
"""Operators whose results are values that they read; so are padding, and resizing to the nearest."""
COPYING_PADS = (b"reflect", b"edge", b"wrap")

Coding = tuple[bytes, int]
"""One scale, as its bytes, and one zero point."""


def pass_codes_(proto: Any) -> int:
    """Drop the decoding and encoding of codes that stay the same, and let what stands between move codes.

    Args:
        proto: an ONNX model, changed in place.

    Returns:
        How many encodings were dropped.
    """
    graph, flow = proto.graph, _Flow(proto.graph)
    renamed: dict[str, str] = {}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        coding = flow.coding(node) if node.op_type == "QuantizeLinear" else None
        codes = None if coding is None else flow.codes(node.input[0], coding)
        if codes is None:
            flow.nodes.append(node)
        else:
            renamed[node.output[0]] = codes
    kept = list(_read(flow.nodes, {one.name for one in graph.output}))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    read = {name for node in graph.node for name in node.input}
    constants = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    return len(renamed)


def share_scale_(proto: Any) -> None:
    """Decode with one scale and one zero point where those of all channels are the same.

    ONNX Runtime decodes one scale a channel slowly where it has moved the graph to channels last.
    """
    from onnx import numpy_helper

    graph, names = proto.graph, fresh_names(proto.graph)
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] in arrays:
            continue
        found = [arrays.get(name) for name in node.input[1:]]
        if any(one is None or one.size < 2 or (one != one.flat[0]).any() for one in found):
            continue
        for place, array in enumerate(found, 1):
            assert array is not None  # any() has seen it
            node.input[place] = next(names)
            graph.initializer.append(numpy_helper.from_array(np.asarray(array.flat[0]), node.input[place]))


def drop_zeros_(proto: Any) -> None:
    """Drop additions of constant zeros, which `models.quantized_network.take_out_` leaves; shapes stay."""
    from onnx import numpy_helper

    zeros = {one.name for one in proto.graph.initializer if not numpy_helper.to_array(one).any()}
    sums = {one.name for one in proto.graph.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in proto.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if node.op_type == "Add" and node.input[1] in zeros and node.output[0] not in sums:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(kept)


class _Flow:
    """Tensors of a graph as codes; collects the graph's nodes in the order in which they can run."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.nodes: list[Any] = []
        self._graph = graph
        self._arrays: dict[str, NDArray[Any]] = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._names = fresh_names(graph)
        self._found: dict[tuple[str, Coding], str | None] = {}

    def coding(self, node: Any) -> Coding | None:
        """What a node encodes or decodes with; None where that is not one constant scale for a whole tensor."""
        scale, zero = (self._arrays.get(name) for name in node.input[1:3]) if len(node.input) == 3 else (None, None)
        if scale is None or zero is None or scale.size != 1 or zero.dtype != np.uint8:
            return None
        return scale.tobytes(), int(zero.item())

    def codes(self, name: str, coding: Coding) -> str | None:
        """The codes of a tensor, computed without leaving codes; None where there is no such way."""
        key = (name, coding)
        if key not in self._found:
            self._found[key] = self._made(self._makers.get(name), coding)
        return self._found[key]

    def _made(self, node: Any, coding: Coding) -> str | None:
        if node is None:
            return None
        if node.op_type == "DequantizeLinear":
            return str(node.input[0]) if self.coding(node) == coding else None
        if not self._moves(node):
            return None
        count = len(node.input) if node.op_type == "Concat" else 1
        inputs = [self.codes(name, coding) for name in node.input[:count]]
        known = [one for one in inputs if one is not None]
        if len(known) < count:
            return None
        if node.op_type == "Relu":
            return self._bounded(known[0], coding[1])
        return self._moved(node, [*known, *node.input[count:]], coding[1])

    def _moves(self, node: Any) -> bool:
        if node.op_type == "Resize":
            return _mode(node, b"nearest") == b"nearest"
        if node.op_type == "Pad":
            return _mode(node, b"constant") in COPYING_PADS or self._pads_zeros(node)
        return node.op_type == "Relu" or (node.op_type in MOVING and len(node.output) == 1)

    def _pads_zeros(self, node: Any) -> bool:
        if len(node.input) < 3 or not node.input[2]:
            return True
        return node.input[2] in self._arrays and not self._arrays[node.input[2]].any()

    def _bounded(self, codes: str, zero: int) -> str:
        """Codes not below that of zero: all of them, where zero is the lowest code."""
        return codes if zero == 0 else self._add("Clip", [codes, self._constant(np.uint8(zero))])

    def _moved(self, node: Any, inputs: list[str], zero: int) -> str:
        if node.op_type == "Pad" and _mode(node, b"constant") not in COPYING_PADS:
            inputs[2:3] = [self._constant(np.uint8(zero))]
        moved = self._add(node.op_type, inputs)
        self.nodes[-1].attribute.extend(node.attribute)
        return moved

    def _constant(self, value: np.uint8) -> str:
        from onnx import numpy_helper

        name = next(self._names)
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(self, operator: str, inputs: list[str]) -> str:
        from onnx import helper

        result = next(self._names)
        self.nodes.append(helper.make_node(operator, inputs, [result]))
        return result


def _mode(node: Any, default: bytes) -> bytes:
    return next((bytes(one.s) for one in node.attribute if one.name == "mode"), default)


def _read(nodes: list[Any], outputs: set[str]) -> Iterator[Any]:
    """Nodes whose results are read, the last one first."""
    read = set(outputs)
    for node in reversed(nodes):
        if read.intersection(node.output):
            read.update(node.input)
            yield node
