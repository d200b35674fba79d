"""Graphs in which quantized values pass from layer to layer give the same images, without floats in between."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.graphs.graph_code_flows import pass_codes_
from ganpress.edge.graphs.graph_editing import graph_bytes, read_graph
from ganpress.edge.graphs.graph_passes import share_scale_
from ganpress.edge.graphs.onnx_export import traced_graph
from ganpress.edge.onnx_runtime import session_options

X = np.random.default_rng(0).uniform(-1, 1, (2, 4, 6, 6)).astype(np.float32)
WIDTHS = np.array([0, 0, 1, 1, 0, 0, 1, 2])


def constants(zero):
    return {
        "scale": np.float32(0.0123),
        "other": np.float32(0.02),
        "zero": np.uint8(zero),
        "widths": WIDTHS,
        "half": np.float32(0.5),
        "none": np.float32(0),
        "twice": np.float32([1, 1, 2, 2]),
    }


def graph(middle, zero=100, last="scale"):
    """Encode x, decode it, run nodes from `a` to `b`, encode and decode the result."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["a"]),
        *middle,
        helper.make_node("QuantizeLinear", ["b", last, "zero"], ["b_codes"]),
        helper.make_node("DequantizeLinear", ["b_codes", last, "zero"], ["images"]),
    ]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants(zero).items()]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 6, 6])]
    outputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, list("nchw"))]
    whole = helper.make_graph(nodes, "g", values, outputs, initializers)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(proto, x=X, level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL):
    options = session_options()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def rewritten(proto, pass_=pass_codes_):
    """The graph after a pass, and what the pass counts."""
    model = read_graph(proto.SerializeToString())
    counted = pass_(model)
    result = onnx.load_from_string(graph_bytes(model))
    onnx.checker.check_model(result, full_check=True)
    return result, counted


def operators(proto):
    return [node.op_type for node in proto.graph.node]


def one(operator, *more, **attributes):
    return [helper.make_node(operator, ["a", *more], ["b"], **attributes)]


MOVES = {
    "relu": one("Relu"),
    "zeros around": one("Pad", "widths"),
    "zeros around, named": one("Pad", "widths", "none", mode="constant"),
    "reflections around": one("Pad", "widths", mode="reflect"),
    "shuffle": one("DepthToSpace", blocksize=2, mode="CRD"),
    "nearest": one("Resize", "", "twice", mode="nearest", coordinate_transformation_mode="asymmetric"),
    "concatenation": one("Concat", "a", axis=1),
    "transposition": one("Transpose", perm=[0, 2, 3, 1]),
    "largest": one("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "several": [
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Pad", ["r", "widths"], ["p"]),
        helper.make_node("Concat", ["p", "p"], ["b"], axis=1),
    ],
}


@pytest.mark.parametrize("zero", [0, 100])
@pytest.mark.parametrize("name", MOVES)
def test_codes_move_as_their_reals_did(name, zero):
    proto = graph(MOVES[name], zero)
    expected = run(proto)
    proto, dropped = rewritten(proto)
    assert dropped == 1
    assert Counter(operators(proto))["QuantizeLinear"] == Counter(operators(proto))["DequantizeLinear"] == 1
    assert np.array_equal(run(proto), expected)
    assert rewritten(proto)[1] == 0


def test_a_bound_of_zero_is_no_node_where_zero_is_the_lowest_code():
    proto, _ = rewritten(graph(MOVES["relu"], zero=0))
    assert operators(proto) == ["QuantizeLinear", "DequantizeLinear"]


@pytest.mark.parametrize("zero", [0, 7, 255])
def test_every_code_survives_decoding_and_encoding(zero):
    """What the pass rests on, for scales of all sizes."""
    code = np.arange(256, dtype=np.float32) - zero
    for scale in np.exp(np.random.default_rng(1).uniform(-40, 40, 2_000)).astype(np.float32):
        assert np.array_equal(np.round((code * scale) / scale), code)


@pytest.mark.parametrize(
    ("middle", "last"),
    [
        (one("Relu"), "other"),  # other codes
        (one("LeakyRelu"), "scale"),  # other values
        (one("Pad", "widths", "half"), "scale"),  # a border that may be no code
        (one("Resize", "", "twice", mode="linear"), "scale"),
        (one("Concat", "x", axis=1), "scale"),  # one side is no code
    ],
)
def test_what_does_not_commute_stays(middle, last):
    proto = graph(middle, last=last)
    after, dropped = rewritten(proto)
    assert dropped == 0
    assert after.graph.node == proto.graph.node


def test_reals_that_something_else_reads_are_decoded_all_the_same():
    proto = graph([helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Neg", ["b"], ["negative"])])
    proto.graph.output.append(helper.make_tensor_value_info("negative", TensorProto.FLOAT, list("nchw")))
    expected = run(proto)
    proto, dropped = rewritten(proto)
    assert dropped == 1
    assert "Neg" in operators(proto)
    assert np.array_equal(run(proto), expected)


def test_equal_scales_of_channels_become_one():
    proto = graph(one("Relu"))
    for name, array in (("scale", np.full(4, 0.0123, np.float32)), ("zero", np.full(4, 3, np.uint8))):
        next(item for item in proto.graph.initializer if item.name == name).CopyFrom(
            numpy_helper.from_array(array, name)
        )
    expected = run(proto)
    proto, _ = rewritten(proto, share_scale_)
    sizes = {item.name: list(item.dims) for item in proto.graph.initializer}
    assert [sizes[node.input[1]] for node in proto.graph.node if node.op_type == "DequantizeLinear"] == [[], []]
    assert np.array_equal(run(proto), expected)


class Chain(nn.Module):
    """Layers with nothing between that codes could not pass, then a sum."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.up = nn.Conv2d(8, 16, 3, padding=1)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        x = functional.pixel_shuffle(torch.relu(self.up(torch.relu(self.norm(self.stem(x))))), 2)
        return torch.tanh(self.head(x + self.body(functional.interpolate(x[:, :, ::2, ::2], scale_factor=2.0))))


@pytest.mark.parametrize("bits", [8, 5])
@pytest.mark.parametrize("symmetric", [False, True])
def test_the_runtime_gives_the_simulations_images(bits, symmetric):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = Chain(), torch.rand(6, 3, 8, 8) * 2 - 1
        model(x)
        quantized = quantize(model.eval(), x[:4], QuantizationConfig(bits, bits, symmetric=symmetric))
        proto = onnx.load_from_string(traced_graph(quantized, x))
    found = run(proto, x.numpy(), onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    assert np.abs(found - quantized(x).numpy()).max() <= 1e-6
    # What each layer puts out, and what those read that read no layer alone: the picture, a part, a sum.
    assert operators(proto).count("QuantizeLinear") == len(quantized.layers) + 3
