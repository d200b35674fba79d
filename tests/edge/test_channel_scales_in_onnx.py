"""Graphs with one scale per channel: rewritten so that ONNX Runtime runs them, with the same result."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ganpress.edge.graphs.graph_editing import graph_bytes, read_graph
from ganpress.edge.graphs.graph_passes import keep_channel_scales_

CHANNELS = 3
X = np.random.default_rng(0).uniform(-1, 1, (2, CHANNELS, 4, 4)).astype(np.float32)


def graph(middle, scales=CHANNELS, encoders=("a",)):
    """Encode x, decode it by one scale a channel, run `middle`, encode and decode its result by one scale."""
    random = np.random.default_rng(1)
    shape = () if scales == 1 else (scales,)
    constants = {
        "step": random.uniform(0.005, 0.01, shape).astype(np.float32),
        "zero": random.integers(100, 150, shape).astype(np.uint8),
        "last_step": np.float32(0.02),
        "last_zero": np.uint8(128),
    }
    nodes = []
    for name in encoders:
        nodes += [
            helper.make_node("QuantizeLinear", ["x", "step", "zero"], [f"{name}_codes"], axis=1),
            helper.make_node("DequantizeLinear", [f"{name}_codes", "step", "zero"], [name], axis=1),
        ]
    nodes += [
        middle,
        helper.make_node("QuantizeLinear", ["y", "last_step", "last_zero"], ["y_codes"]),
        helper.make_node("DequantizeLinear", ["y_codes", "last_step", "last_zero"], ["images"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", CHANNELS, 4, 4]) for name in ("x", "images")]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    whole = helper.make_graph(nodes, "g", values[:1], values[1:], initializers)
    proto = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto)
    return proto


def rewritten(proto):
    model = read_graph(proto.SerializeToString())
    keep_channel_scales_(model)
    result = onnx.load_from_string(graph_bytes(model))
    onnx.checker.check_model(result)
    return result


def operators(proto):
    return [node.op_type for node in proto.graph.node]


MIDDLES = {
    "leaky": (helper.make_node("LeakyRelu", ["a"], ["y"], alpha=0.2), ("a",)),
    "leaky of the default slope": (helper.make_node("LeakyRelu", ["a"], ["y"]), ("a",)),
    "sigmoid": (helper.make_node("Sigmoid", ["a"], ["y"]), ("a",)),
    "sum": (helper.make_node("Add", ["a", "b"], ["y"]), ("a", "b")),
    "pool": (helper.make_node("AveragePool", ["a"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), ("a",)),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_the_runtime_gives_what_the_graph_gave_before(name):
    middle, encoders = MIDDLES[name]
    proto = graph(middle, encoders=encoders)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": X})
    session = onnxruntime.InferenceSession(rewritten(proto).SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": X})
    assert np.abs(found - expected).max() <= 0.02 * 1.001  # a tie may be rounded the other way
    assert np.mean(np.abs(found - expected) > 1e-6) < 0.02


def test_a_leaky_relu_becomes_one_that_is_not_fused():
    proto = rewritten(graph(*MIDDLES["leaky"][:1]))
    assert operators(proto).count("PRelu") == 1
    assert "LeakyRelu" not in operators(proto)
    (slope,) = [one for one in proto.graph.initializer if one.name == proto.graph.node[2].input[1]]
    assert numpy_helper.to_array(slope) == np.float32([0.2])


def test_one_decoding_of_several_is_written_out_and_names_stay_apart():
    middle, encoders = MIDDLES["sum"]
    proto = rewritten(graph(middle, encoders=encoders))
    assert operators(proto)[3:7] == ["Cast", "Sub", "Mul", "Add"]
    made = [name for node in proto.graph.node for name in node.output] + [one.name for one in proto.graph.initializer]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    ("middle", "scales"),
    [
        (helper.make_node("LeakyRelu", ["a"], ["y"]), 1),  # one scale for all channels: what the runtime is made for
        (helper.make_node("Relu", ["a"], ["y"]), CHANNELS),  # not replaced by an operator on codes
        (helper.make_node("Add", ["a", "x"], ["y"]), CHANNELS),  # one side is no decoded code
    ],
)
def test_what_the_runtime_reads_rightly_stays(middle, scales):
    proto = graph(middle, scales)
    assert rewritten(proto).graph.node == proto.graph.node
