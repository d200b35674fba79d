"""Common functions for changing ONNX graphs with onnx_ir: reading, constants, replacing a node, writing."""

from __future__ import annotations  # onnx_ir, which takes two seconds to import, is imported where a graph is changed

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir


def read_graph(content: bytes) -> onnx_ir.Model:
    """Read a serialised ONNX model."""
    import onnx
    import onnx_ir

    model: onnx_ir.Model = onnx_ir.from_proto(onnx.load_from_string(content))
    return model


def graph_bytes(model: onnx_ir.Model) -> bytes:
    """Serialise a model without unused parts and parts that runtimes do not need; equal models give equal bytes."""
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)
    for node in model.graph:
        node.name = None
    proto = onnx_ir.to_proto(model)
    del proto.graph.value_info[:]  # a runtime derives the shapes by itself
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def array_of(value: onnx_ir.Value | None) -> NDArray[Any] | None:
    """Return the array of a constant that the file stores; None for any other value."""
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    return value.const_value.numpy()


def constant(graph: onnx_ir.Graph, array: NDArray[Any]) -> onnx_ir.Value:
    """Store an array in the graph under an unused name."""
    import onnx_ir

    taken, place = graph.initializers, len(graph.initializers)
    while f"k{place}" in taken:
        place += 1
    stored = onnx_ir.tensor(np.asarray(array, order="C"), name=f"k{place}")
    value = onnx_ir.val(f"k{place}", const_value=stored)
    graph.register_initializer(value)
    return value


def insert(before: onnx_ir.Node, operator: str, *inputs: onnx_ir.Value | None, attributes: Any = None) -> onnx_ir.Value:
    """Insert a node with one result before another node; return the result."""
    import onnx_ir

    node = onnx_ir.node(operator, inputs, attributes)
    assert before.graph is not None  # callers iterate over a graph's nodes
    before.graph.insert_before(before, node)
    return node.outputs[0]


def replace(value: onnx_ir.Value, by: onnx_ir.Value) -> None:
    """Replace a value by another one for all its readers; unused nodes are removed when the graph is written."""
    import onnx_ir

    onnx_ir.convenience.replace_all_uses_with(value, by, replace_graph_outputs=True)
