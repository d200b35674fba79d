"""Writes a whole network as an ONNX graph, function by function in the order in which they run.

torch.onnx takes seconds to import and to trace; this takes milliseconds. A network that calls a function which
`ganpress.edge.graphs.layer_forms` does not support goes through torch.onnx.
"""

import copy
from typing import Any

from torch import Tensor, fx, nn

from ganpress.edge.graphs.form_operands import NoForm, Value
from ganpress.edge.graphs.graph_writer import OUTPUT, GraphWriter, input_name
from ganpress.edge.graphs.layer_forms import draw_call
from ganpress.structure.function_graph import shape_of, trace_functions
from models.quantized_layers import QuantizedConv

VIEWS = frozenset({"view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze"})
"""Functions that return the same values in the same order."""
PASSING = frozenset({"dropout", "identity", "contiguous", "clone"})
"""Functions that do nothing in eval mode."""


TRIAL = 2
"""Samples with which a network is run to record its functions."""


def network_graph(model: nn.Module, example: Tensor) -> bytes:
    """Write the graph (batch, …) -> images, with the example's height and width.

    Args:
        model: a generator, in eval mode.
        example: inputs (N, …).

    Raises:
        NoForm: if one of its functions is not supported.
        ganpress.structure.function_graph.Untraceable: if its functions may depend on the input.
    """
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, QuantizedConv):
            layer.drawn = True
    two = example[:TRIAL] if len(example) > 1 else example.expand(TRIAL, *example.shape[1:])
    graph, writer, source = trace_functions(model, two), GraphWriter(), input_name(example)
    values: dict[fx.Node, Value | Tensor] = {}
    for node in graph.nodes:
        if node.op == "output":
            break
        values[node] = _value(writer, node, values, source)
    result = values[node.args[0]]
    if not isinstance(result, Value) or result.name == source:
        raise NoForm("a network that computes nothing")
    writer.rename(result.name, OUTPUT)
    return writer.to_bytes(["batch", *two.shape[1:]], ["batch", *result.shape[1:]], source)


def _value(writer: GraphWriter, node: fx.Node, values: dict[fx.Node, Value | Tensor], source: str) -> Value | Tensor:
    if not node.meta["computed"] and node.target != "node":
        constant: Tensor = node.meta["value"].detach()
        return constant
    name = source if node.op == "placeholder" else _written(writer, node, values)
    return Value(name, shape_of(node))


def _written(writer: GraphWriter, node: fx.Node, values: dict[fx.Node, Value | Tensor]) -> str:
    """Write one call and return the name of its result."""
    replace: Any = values.__getitem__  # fx's annotation allows only nodes as results
    mapped: Any = fx.node.map_arg((node.args, node.kwargs), replace)
    arguments, named = mapped
    if node.target == "node":
        return _operator(writer, *arguments, **named)
    first = arguments[0]
    if node.target in PASSING and isinstance(first, Value):
        return first.name
    if node.target in VIEWS or (node.target == "getitem" and first.shape != shape_of(node) and _only_adds_axes(node)):
        return _reshaped(writer, first, shape_of(node))
    return draw_call(writer, str(node.target), arguments, named)


def _only_adds_axes(node: fx.Node) -> bool:
    parts: Any = node.args[1]
    return isinstance(parts, tuple) and all(part is None or part == slice(None) for part in parts)


def _reshaped(writer: GraphWriter, x: Value, shape: tuple[int, ...]) -> str:
    merged = shape[0] % TRIAL == 0 and x.shape[0] % TRIAL == 0  # pixels of all samples in one axis, sample by sample
    if not merged:
        raise NoForm("a view that mixes samples")
    return writer.add("Reshape", x.name, writer.sizes(-1, *shape[1:]))


def _operator(
    writer: GraphWriter, operator: str, inputs: Any, _: Any, attributes: dict[str, Any] | None = None, *__: Any
) -> str:
    """Write an operator that `models.quantized_symbols.node` calls."""
    names = [
        one.name if isinstance(one, Value) else writer.constant(one.numpy()) if one is not None else ""
        for one in inputs
    ]
    return writer.add(operator, *names, **(attributes or {}))
