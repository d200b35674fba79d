"""Networks as ONNX graphs, written function by function."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.graphs.form_operands import NoForm
from ganpress.edge.graphs.graph_editing import graph_bytes, read_graph
from ganpress.edge.graphs.graph_passes import drop_zeros_, repeat_biases_
from ganpress.edge.graphs.network_graph import network_graph
from ganpress.edge.graphs.onnx_export import traced_graph
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas


def random_inputs(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def run(content, inputs, folder):
    path = folder / "generator.onnx"
    path.write_bytes(content)
    return OnnxGenerator(path)(inputs)


def rewritten(proto, pass_):
    model = read_graph(proto.SerializeToString())
    pass_(model)
    result = onnx.load_from_string(graph_bytes(model))
    onnx.checker.check_model(result)
    return result


FAMILIES = ["resnet_9blocks:ngf=2", "edge_mobile_resnet_9blocks:ngf=2", "mobile_resnet_9blocks:ngf=2"]


@pytest.mark.parametrize("name", FAMILIES)
def test_drawn_networks_compute_what_torch_computes(tmp_path, name):
    model = generator_blueprint(name, Canvas(3, 16, 16, reads=3)).build().eval()
    x = random_inputs(3, 3, 16, 16)
    found = run(network_graph(model, x[:1]), x, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), rtol=0, atol=1e-5)


class Bending(nn.Module):
    """Calls something that has no form of its own."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.way = nn.Conv2d(3, 3, 3, padding=1), way

    def forward(self, x):
        x = self.conv(x)
        if self.way == "unknown":
            return torch.atan(x)
        return torch.tanh(x.reshape(1, -1, *x.shape[2:]).reshape(x.shape))


@pytest.mark.parametrize(("way", "reason"), [("unknown", "atan"), ("mixed", "a view that mixes samples")])
def test_what_has_no_form_goes_through_torchs_exporter(tmp_path, way, reason):
    model, x = Bending(way).eval(), random_inputs(2, 3, 8, 8)
    with pytest.raises(NoForm, match=reason):
        network_graph(model, x)
    with torch.no_grad():
        torch.testing.assert_close(run(traced_graph(model, x), x, tmp_path), model(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_pixels_are_rearranged_channels_last_where_layers_put_out_codes(tmp_path, factor):
    kernel, padding = (4, 1) if factor == 2 else (3, 0)
    layers = [nn.ConvTranspose2d(3, 4, kernel, factor, padding), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(*layers, nn.Tanh()).eval()
        for layer in (layers[0], layers[2]):
            nn.init.normal_(layer.weight, 0, 0.3)
    x = random_inputs(5, 3, 6, 6)
    quantized = quantize(model, x, QuantizationConfig(8, 8))
    content = traced_graph(quantized, x)
    operators = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert "DepthToSpace" not in operators
    assert operators.count("Conv") == 2
    with torch.no_grad():
        error = (run(content, x, tmp_path) - quantized(x)).abs().max()
    assert error <= quantized.output_step


def test_a_bias_that_phases_share_is_stored_once():
    def proto_of(bias, weight="w"):
        graph = onnx.helper.make_graph(
            [
                onnx.helper.make_node("DequantizeLinear", ["codes", "scale"], ["w"]),
                onnx.helper.make_node("Conv", ["x", weight, "b"], ["y"]),
            ],
            "g",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, 4, 4])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, len(bias), 4, 4])],
            [
                numpy_helper.from_array(np.ones((len(bias), 2, 1, 1), np.int8), "codes"),
                numpy_helper.from_array(np.ones((len(bias), 2, 1, 1), np.float32), "floats"),
                numpy_helper.from_array(np.array(1, np.float32), "scale"),
                numpy_helper.from_array(bias, "b"),
            ],
        )
        return onnx.helper.make_model(graph)

    values = np.arange(40, dtype=np.float32)
    shared, apart = proto_of(np.tile(values, 4)), proto_of(np.repeat(values, 4))
    floats = proto_of(np.tile(values, 4), "floats")
    shared, apart, floats = (rewritten(proto, repeat_biases_) for proto in (shared, apart, floats))
    assert [node.op_type for node in shared.graph.node] == ["Tile", "DequantizeLinear", "Conv"]
    assert 40 in [one.dims[0] for one in shared.graph.initializer if one.dims]
    assert not any(node.op_type == "Tile" for proto in (apart, floats) for node in proto.graph.node)


@pytest.mark.parametrize(("value", "operators"), [(0.0, ["Relu", "Relu"]), (1.0, ["Relu", "Add", "Relu"])])
def test_additions_of_zeros_are_dropped(value, operators):
    nodes = [("Relu", ["x"], "a"), ("Add", ["a", "c"], "b"), ("Relu", ["b"], "y")]
    shape = [1, 3, 2, 2]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.full((3, 1, 1), value, np.float32), "c")],
    )
    proto = onnx.helper.make_model(graph)
    proto = rewritten(proto, drop_zeros_)
    assert [node.op_type for node in proto.graph.node] == operators


def test_the_runtimes_own_quantizer_takes_equal_biases(tmp_path):
    layers = [nn.Conv2d(3, 128, 3, padding=1), nn.InstanceNorm2d(128), nn.ReLU(), nn.Conv2d(128, 3, 3, padding=1)]
    model, x = nn.Sequential(*layers, nn.Tanh()).eval(), random_inputs(4, 3, 8, 8)
    for layer in (layers[0], layers[3]):
        nn.init.zeros_(layer.bias)
    path = tmp_path / "generator.onnx"
    TARGETS["onnx"].write(model, path, x[:1], "int8", x)
    assert compare_outputs(model, TARGETS["onnx"].open(path), x).snr_db > 20
