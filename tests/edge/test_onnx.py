"""ONNX files: their content, their agreement with torch, and the real use of integers."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.forms.float_forms import in_form
from ganpress.edge.graphs.graph_writer import GraphWriter
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.edge.proof.verification import verify_export
from ganpress.errors import CheckpointError, ConfigError, ExportMismatch

GENERATORS = [("6", 16, 1), ("3_5_2", 32, 3), ("4", 64, 1), ("16", 32, 1)]


def latents(images, seed=0):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(seed))


def operators_run(path, tmp_path, *switches):
    """Operators of the graph that the runtime really runs, after its own rewriting."""
    options = onnxruntime.SessionOptions()
    for switch in switches:
        options.add_session_config_entry(switch, "1")
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)


@pytest.mark.parametrize(("spec", "size", "channels"), GENERATORS)
def test_float_file_gives_torchs_images(trained_like, tmp_path, spec, size, channels):
    model, path = trained_like(spec, size, channels), tmp_path / "generator.onnx"
    export_onnx(model, path, latents(2))
    proof = verify_export(model, path, latents(70), tolerance=1e-5)
    assert proof.images == 70
    assert proof.snr_db is None or proof.snr_db > 100


@pytest.mark.parametrize(("spec", "size", "channels"), GENERATORS)
def test_integer_file_gives_the_simulations_images(trained_like, tmp_path, spec, size, channels):
    quantized = quantize(trained_like(spec, size, channels), latents(64), QuantizationConfig(8, 8))
    path = tmp_path / "generator.onnx"
    export_onnx(quantized, path, latents(2))
    proof = verify_export(quantized, path, latents(33, seed=1), tolerance=quantized.output_step)
    assert proof.max_abs_error <= quantized.output_step


@pytest.mark.parametrize("bits", [(8, 8), (4, 4), (7, 8), (2, 8), (8, 5), (6, None), (None, 8), (None, 3)])
def test_every_bit_width_gives_the_simulations_images(trained_like, tmp_path, bits):
    quantized = quantize(trained_like("4", 32, 1), latents(64), QuantizationConfig(*bits))
    path = tmp_path / "generator.onnx"
    export_onnx(quantized, path, latents(2))
    tolerance = max(quantized.output_step, 1e-5)
    assert verify_export(quantized, path, latents(33, seed=1), tolerance).max_abs_error <= tolerance


@pytest.mark.parametrize("bits", [(8, 8), (4, 4)])
def test_every_convolution_runs_in_integers(trained_like, tmp_path, bits):
    quantized = quantize(trained_like("4", 64, 1), latents(64), QuantizationConfig(*bits))
    export_onnx(quantized, tmp_path / "generator.onnx", latents(2))
    found = operators_run(tmp_path / "generator.onnx", tmp_path)
    assert found["QLinearConv"] == 5
    assert not found.keys() & {"Conv", "ConvTranspose", "Gemm", "MatMul", "Relu"}
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1  # latents in, images out


def test_channels_last_codes_need_no_transpositions_of_the_runtime(trained_like, tmp_path):
    quantized = quantize(trained_like("4", 64, 1), latents(64), QuantizationConfig(8, 8))
    export_onnx(quantized, tmp_path / "generator.onnx", latents(2))
    assert (
        operators_run(tmp_path / "generator.onnx", tmp_path)["Transpose"] == 5
    )  # of the latents, one pixel; and one each doubling


def test_float_file_runs_native_transposed_convolutions(trained_like, tmp_path):
    model = in_form(trained_like("4", 64, 1), "native", latents(2))
    export_onnx(model, tmp_path / "generator.onnx", latents(2))
    found = operators_run(tmp_path / "generator.onnx", tmp_path)
    assert (found["ConvTranspose"], found["Gemm"], found["Add"]) == (4, 1, 0)  # single pixels are a matrix product


def test_weights_are_stored_as_int8_and_the_file_is_a_quarter(trained_like, tmp_path):
    model = trained_like("16", 64, 1)
    export_onnx(model, tmp_path / "float.onnx", latents(2))
    export_onnx(quantize(model, latents(16), QuantizationConfig(8, 8)), tmp_path / "int8.onnx", latents(2))
    kinds = Counter()
    for initializer in onnx.load(tmp_path / "int8.onnx").graph.initializer:
        kinds[initializer.data_type] += np.prod(initializer.dims, dtype=int)
    weights = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    assert weights <= kinds[onnx.TensorProto.INT8] < 1.01 * weights  # zeros of a head that draws in blocks
    assert kinds[onnx.TensorProto.FLOAT] < 0.05 * weights
    ratio = (tmp_path / "float.onnx").stat().st_size / (tmp_path / "int8.onnx").stat().st_size
    assert ratio > 3.6


def test_file_holds_no_metadata_and_the_same_bytes_each_time(trained_like, tmp_path):
    model = trained_like("2", 16, 3)
    for name in ("first", "second"):
        export_onnx(model, tmp_path / name, latents(2))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    proto = onnx.load(tmp_path / "first")
    assert not proto.metadata_props
    assert not proto.graph.value_info
    overhead = (tmp_path / "first").stat().st_size - 4 * sum(p.numel() for p in model.parameters())
    assert overhead < 2500


def test_weight_only_file_is_decoded_once_at_load(trained_like, tmp_path):
    """Codes on disk, floats at run time: the size of the first and the speed of the second."""
    model, path, key = trained_like("16", 32, 1), tmp_path / "generator.onnx", "session.disable_quant_qdq"
    export_onnx(quantize(model, latents(16), QuantizationConfig(8, None)), path, latents(2))
    assert OnnxGenerator(path)._session.get_session_options().get_session_config_entry(key) == "1"
    assert "DequantizeLinear" in operators_run(path, tmp_path)
    assert "DequantizeLinear" not in operators_run(path, tmp_path, key)
    assert path.stat().st_size < 1.2 * sum(parameter.numel() for parameter in model.parameters())


def test_integer_file_keeps_its_integers_in_the_runner(trained_like, tmp_path):
    model, path = trained_like("2", 16, 1), tmp_path / "generator.onnx"
    export_onnx(quantize(model, latents(16), QuantizationConfig(8, 8)), path, latents(2))
    with pytest.raises(RuntimeError, match="does not have configuration with key"):
        OnnxGenerator(path)._session.get_session_options().get_session_config_entry("session.disable_quant_qdq")


class Odd(nn.Module):
    """An architecture that nobody has written a graph for."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(6, 16)

    def forward(self, z):
        return torch.sigmoid(self.project(z)).reshape(-1, 1, 4, 4)


def test_unknown_architecture_is_traced(tmp_path):
    model, z = Odd().eval(), torch.randn(5, 6)
    export_onnx(model, tmp_path / "generator.onnx", z[:2])
    verify_export(model, tmp_path / "generator.onnx", z, tolerance=1e-6)
    proto = onnx.load(tmp_path / "generator.onnx")
    assert all(not node.metadata_props and not node.doc_string and not node.name for node in proto.graph.node)
    assert (tmp_path / "generator.onnx").stat().st_size < 4 * 112 + 1000


class Branching(nn.Module):
    """An architecture that decides by the values of its input."""

    def forward(self, z):
        return z if z.sum() > 0 else -z


def test_architecture_that_cannot_be_traced_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Branching cannot be written as ONNX: "):
        export_onnx(Branching(), tmp_path / "generator.onnx", torch.randn(2, 6))
    assert not list(tmp_path.iterdir())


def test_difference_beyond_the_tolerance_is_refused_with_numbers(trained_like, tmp_path):
    model, path = trained_like("4", 16, 1), tmp_path / "generator.onnx"
    export_onnx(model, path, latents(2))
    with torch.no_grad():
        model.head.bias.add_(0.5)
    pattern = r"generator.onnx differs from torch by up to 0\.\d+ per pixel, allowed is 0.02 \(export.tolerance"
    with pytest.raises(ExportMismatch, match=pattern):
        verify_export(model, path, latents(4), tolerance=0.02)


def test_images_of_another_size_are_refused(trained_like, tmp_path):
    path = tmp_path / "generator.onnx"
    export_onnx(trained_like("4", 16, 1), path, latents(2))
    with pytest.raises(ExportMismatch, match=r"images are \(4, 1, 16, 16\), the reference's \(4, 1, 32, 32\)"):
        verify_export(trained_like("4", 32, 1), path, latents(4), tolerance=1)


def test_result_that_is_not_finite_is_refused(trained_like, tmp_path):
    model, path = trained_like("4", 16, 1), tmp_path / "generator.onnx"
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    export_onnx(model, path, latents(2))
    with pytest.raises(ExportMismatch, match="differs from torch by up to inf"):
        verify_export(model, path, latents(4), tolerance=1)


def test_runner_takes_any_batch(trained_like, tmp_path):
    path = tmp_path / "generator.onnx"
    export_onnx(trained_like("4", 16, 3), path, latents(2))
    runner = OnnxGenerator(path, threads=1)
    together = runner(latents(5))
    assert together.shape == (5, 3, 16, 16)
    assert together.dtype == torch.float32
    torch.testing.assert_close(runner(latents(5)[2:3])[0], together[2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 100), (2, 99), (100,)])
def test_latents_of_another_shape_are_refused(trained_like, tmp_path, shape):
    path = tmp_path / "generator.onnx"
    export_onnx(trained_like("2", 16, 1), path, latents(2))
    with pytest.raises(ConfigError, match=r"generator.onnx takes z \(N, 100\) with N >= 1, found \("):
        OnnxGenerator(path)(torch.zeros(shape))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere.onnx does not exist; export the generator first"):
        OnnxGenerator(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_file_that_is_no_graph_is_refused(tmp_path, content):
    path = tmp_path / "generator.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"generator.onnx cannot be loaded by ONNX Runtime: .*; export it again"):
        OnnxGenerator(path)


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_truncated_file_is_refused(trained_like, tmp_path, share):
    path = tmp_path / "generator.onnx"
    export_onnx(trained_like("2", 16, 1), path, latents(2))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"generator.onnx cannot be loaded by ONNX Runtime"):
        OnnxGenerator(path)


def test_graph_of_something_else_is_refused(tmp_path):
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", [value], [other])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "g.onnx")
    with pytest.raises(CheckpointError, match=r"needs 'z' or 'source' -> 'images', found \['x', 'y'\]"):
        OnnxGenerator(tmp_path / "g.onnx")


def test_equal_constants_are_stored_once():
    writer = GraphWriter()
    assert writer.sizes(1, 2) == writer.constant(np.array([1, 2], np.int64))
    assert writer.sizes(1, 2) != writer.constant(np.array([1, 2], np.int32))
