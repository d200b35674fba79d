"""Rewriting of ONNX graphs so that ONNX Runtime can run them; every rewriting is exact."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FUSED = frozenset(
    ["LeakyRelu", "Sigmoid", "Softmax", "AveragePool", "GlobalAveragePool", "Add", "Mul", "Concat"],
)
"""Operators between decoded inputs and an encoded output that ONNX Runtime (1.22 to 1.31) replaces by one on codes."""


def keep_channel_scales_(proto: Any) -> None:
    """Rewrite what reads codes of one scale a channel where the runtime would take them for codes of one scale.

    ONNX Runtime fuses decode, operator and encode into one operator on codes, which takes one scale for all channels.
    It doesn't look at how many there are before it does so, and then fails to load the file. A leaky ReLU becomes the
    same function as PRelu, which it does not fuse; in front of any other operator the first decoding is written out as
    (code - zero point) * scale, which is the definition of DequantizeLinear.
    """
    from onnx import numpy_helper

    graph = proto.graph
    constants = {one.name: one for one in graph.initializer}
    decoders = {node.output[0]: node for node in graph.node if _decodes_channels(node, constants)}
    decoded = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    names = fresh_names(graph)

    def constant(array: Any) -> str:
        name = next(names)
        graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    nodes: list[Any] = []
    for node in graph.node:
        data = [name for name in node.input if name in decoded]
        if node.op_type in FUSED and len(data) == len(node.input) and any(name in decoders for name in data):
            if node.op_type == "LeakyRelu":
                node = _as_prelu(node, constant)
            else:
                channelwise = next(name for name in data if name in decoders)
                nodes += _written_out(node, decoders[channelwise], constants, constant, names)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _decodes_channels(node: Any, constants: dict[str, Any]) -> bool:
    """Whether a node decodes activations with more than one scale."""
    if node.op_type != "DequantizeLinear" or node.input[0] in constants or node.input[1] not in constants:
        return False
    return int(np.prod(constants[node.input[1]].dims)) > 1


def _as_prelu(node: Any, constant: Callable[[Any], str]) -> Any:
    from onnx import helper

    slope = next((one.f for one in node.attribute if one.name == "alpha"), 0.01)
    return helper.make_node("PRelu", [node.input[0], constant(np.array([slope], np.float32))], list(node.output))


def _written_out(
    node: Any, decoder: Any, constants: dict[str, Any], constant: Callable[[Any], str], names: Iterator[str]
) -> list[Any]:
    """Nodes that decode for one reader, whose input is changed to their result; channels are axis 1 of four."""
    from onnx import TensorProto, helper, numpy_helper

    codes, scale = decoder.input[0], numpy_helper.to_array(constants[decoder.input[1]])
    zeros = numpy_helper.to_array(constants[decoder.input[2]]).astype(np.float32)
    real, steps, result = next(names), next(names), next(names)
    node.input[:] = [result if name == decoder.output[0] else name for name in node.input]
    return [
        helper.make_node("Cast", [codes], [real], to=TensorProto.FLOAT),
        helper.make_node("Sub", [real, constant(zeros.reshape(1, -1, 1, 1))], [steps]),
        helper.make_node("Mul", [steps, constant(scale.reshape(1, -1, 1, 1))], [result]),
    ]


def fresh_names(graph: Any) -> Iterator[str]:
    """Names that no tensor of the graph has."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {one.name for one in graph.initializer}
    return (name for name in (f"r{place}" for place in range(10**9)) if name not in taken)
