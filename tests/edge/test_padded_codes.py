"""Graphs that move quantized values instead of floats give the same images."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.forms.openvino_form import unrounded_outputs
from ganpress.edge.graphs.graph_editing import graph_bytes, insert, read_graph, replace
from ganpress.edge.graphs.graph_passes import pad_codes_
from ganpress.edge.graphs.onnx_export import traced_graph
from ganpress.edge.onnx_runtime import session_options
from ganpress.metrics.fidelity import compare_outputs
from models.quantized_layers import QuantizedConv
from models.resnet import resnet_generator


@pytest.fixture(
    scope="module",
    params=[
        pytest.param({}, id="one scale"),
        pytest.param({"channel_inputs": True}, id="a scale a channel", marks=pytest.mark.slow),
    ],
)
def subject(request):
    """A ResNet generator, its quantized form, and sources."""
    torch.manual_seed(0)
    model, sources = resnet_generator("2_2_2_2_2_2_2_2", 3, 3, separable=True).eval(), torch.randn(3, 3, 16, 16)
    return model, quantize(model, sources, QuantizationConfig(8, 8, max_crest=1e9, **request.param)), sources


def run(content, sources):
    options = session_options()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: sources.numpy()})[0]


def unpadded(content):
    """The graph with every padding of codes before their rounding again, as the exporter wrote it."""
    model, moved = read_graph(content), 0
    for node in [one for one in model.graph if one.op_type == "Pad"]:
        encode = node.inputs[0].producer()
        if encode is not None and encode.op_type == "QuantizeLinear":
            padded = insert(node, "Pad", encode.inputs[0], *node.inputs[1:], attributes=node.attributes)
            replace(node.outputs[0], insert(node, "QuantizeLinear", padded, *encode.inputs[1:]))
            moved += 1
    return graph_bytes(model), moved


def test_rounding_before_padding_gives_the_same_images(subject):
    _, quantized, sources = subject
    content = traced_graph(quantized, sources)
    before, moved = unpadded(content)
    assert moved >= 18  # two for each block
    onnx.checker.check_model(onnx.load_from_string(before), full_check=True)
    assert np.array_equal(run(content, sources), run(before, sources))
    again = read_graph(before)
    assert pad_codes_(again) == moved
    assert np.array_equal(run(graph_bytes(again), sources), run(before, sources))
    assert pad_codes_(read_graph(content)) == 0


def test_a_padding_that_is_read_twice_or_adds_zeros_stays():
    from onnx import TensorProto, helper, numpy_helper

    def graph(mode, twice):
        nodes = [
            helper.make_node("Pad", ["x", "widths"], ["padded"], mode=mode),
            helper.make_node("QuantizeLinear", ["padded", "scale", "zero"], ["codes"]),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"]),
        ]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "padded")]
        constants = {"widths": np.array([0, 0, 1, 1] * 2), "scale": np.float32(0.1), "zero": np.uint8(0)}
        initializers = [numpy_helper.from_array(np.asarray(one), name) for name, one in constants.items()]
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])]
        whole = helper.make_graph(nodes, "g", inputs, outputs[: 1 + twice], initializers)
        return read_graph(helper.make_model(whole).SerializeToString())

    assert pad_codes_(graph("reflect", twice=False)) == 1
    assert pad_codes_(graph("reflect", twice=True)) == 0
    assert pad_codes_(graph("constant", twice=False)) == 0


def test_unrounded_outputs_are_nearer_to_the_float_generator(subject):
    model, quantized, sources = subject
    before = compare_outputs(model, quantized, sources).snr_db
    network = unrounded_outputs(quantized)
    after = compare_outputs(model, network, sources).snr_db
    assert after > before
    assert all(layer.target is not None for layer in quantized.modules() if isinstance(layer, QuantizedConv))
    assert all(layer.target is None for layer in network.modules() if isinstance(layer, QuantizedConv))


@pytest.mark.needs_target("openvino")
@pytest.mark.needs_vnni
def test_openvino_multiplies_every_layer_in_integers(subject):
    import openvino

    model, quantized, sources = subject
    graph = openvino.Core().read_model(traced_graph(unrounded_outputs(quantized), sources))
    compiled = openvino.Core().compile_model(graph, "CPU", {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    images = torch.from_numpy(request.infer([sources.numpy()])[0].copy())
    ran = [one for one in request.profiling_info if "Convolution" in one.node_type and one.status.name == "EXECUTED"]
    assert len(ran) == len(quantized.layers)
    assert all(one.exec_type.endswith("I8") for one in ran)
    before = compare_outputs(model, quantized, sources).snr_db
    assert compare_outputs(model, lambda _: images, sources).snr_db > before
