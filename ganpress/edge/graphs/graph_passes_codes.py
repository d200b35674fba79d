"""Graphs of codes rewritten, exactly: paddings on codes, equal biases stored once, codes of each call its own.

A generator with reflected borders pads what an instance normalisation gives, and a quantized layer then rounds it.
Pixels are only copied, so that rounding first gives the same codes, and the border is copied as bytes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpress.edge.graphs.onnx_surgery import fresh_names

COPYING_MODES = (b"reflect", b"edge", b"wrap")
"""Ways of padding that copy pixels; constants would have to become codes."""
PHASES = (64, 16, 4)
"""Of sub-pixel layers by 8, 4 and 2."""
TILE_BYTES = 100
"""What an operator that repeats takes in a file."""


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


def repeat_biases_(proto: Any) -> None:
    """Store a bias that all phases of a sub-pixel layer have in common once; the runtime repeats it when it loads.

    Of layers whose weights are codes: ONNX Runtime's own quantizer takes no bias that is not stored as it is.

    Args:
        proto: an ONNX model, changed in place.
    """
    from onnx import helper, numpy_helper

    graph, names = proto.graph, fresh_names(proto.graph)
    decoded = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    readers = [name for node in graph.node for name in node.input]
    stored = {one.name: one for one in graph.initializer}
    added = []
    for node in graph.node:
        name = node.input[2] if node.op_type == "Conv" and len(node.input) == 3 and node.input[1] in decoded else ""
        if name not in stored or readers.count(name) > 1:
            continue
        bias = numpy_helper.to_array(stored[name])
        count = next(_repetitions(bias), 1)
        if count == 1:
            continue
        once, times = next(names), next(names)
        stored[name].CopyFrom(numpy_helper.from_array(bias[: len(bias) // count], once))
        graph.initializer.append(numpy_helper.from_array(np.array([count]), times))
        added.append(helper.make_node("Tile", [once, times], [name]))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def part_weights_(proto: Any) -> None:
    """Give each call of a layer that is called several times codes of its own.

    ONNX Runtime's channels-last kernels lay the codes of each call anew under one name, and do not load a graph in
    which two share them; packed, the copies take no bytes.

    Args:
        proto: an ONNX model, changed in place.
    """
    graph, names = proto.graph, fresh_names(proto.graph)
    stored = {one.name: one for one in graph.initializer}
    seen: set[str] = set()
    for node in graph.node:
        name = node.input[0]
        if node.op_type != "DequantizeLinear" or name not in stored:
            continue
        if name in seen:
            copied = graph.initializer.add()
            copied.CopyFrom(stored[name])
            copied.name = node.input[0] = next(names)
        seen.add(name)


def _repetitions(values: NDArray[Any]) -> Iterator[int]:
    """How often a vector repeats one of its parts, where that saves more than it takes; the most first."""
    for count in PHASES:
        if len(values) % count == 0 and values.nbytes * (count - 1) // count > TILE_BYTES:
            parts = values.reshape(count, -1)
            if (parts == parts[0]).all():
                yield count


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
