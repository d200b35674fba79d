"""Files for TensorRT: they contain only what TensorRT supports, and unsupported operators are named."""

import struct

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Lineage
from ganpress.edge.proven_export import ExportSettings, proven_export
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.edge.targets.tensorrt_graphs import CHANNEL_AXES, KNOWN, calibration_table
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS

TARGET = TARGETS["tensorrt"]
LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="resnet_generator")


def pictures(images, size=16, seed=0):
    noise = torch.randn((images, 3, 4, 4), generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(noise, size=size, mode="bicubic").clamp(-1, 1)


@pytest.fixture(scope="module")
def network():
    """Convolutions of each kind, an instance normalisation, a branch."""
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1), nn.InstanceNorm2d(8), nn.ReLU()
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), *up, nn.ReflectionPad2d(2), nn.Conv2d(8, 3, 5), nn.Tanh()
    ).eval()


@pytest.fixture(scope="module")
def quantized(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("tensorrt") / "generator.trt.onnx"
    assert TARGET.write(network, path, pictures(2), "int8", pictures(16)) == (path,)
    return path


def constants_of(graph):
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def test_integers_are_near_and_a_quarter_of_the_weights(trained_like, tmp_path):
    model, z = trained_like("16", 32, 1), torch.randn(80, 100, generator=torch.Generator().manual_seed(0))
    paths = {name: tmp_path / name / "generator.trt.onnx" for name in TARGET.number_types}
    for name, path in paths.items():
        TARGET.write(model, path, z[:2], name, z[:32])
    snr = {name: compare_outputs(model, TARGET.open(path), z[32:]).snr_db for name, path in paths.items()}
    assert snr["float32"] > 100
    assert snr["int8"] > 25
    assert paths["int8"].stat().st_size < 0.3 * paths["float32"].stat().st_size
    profile = TARGET.kernels(paths["int8"], z[:1])
    assert (profile.layers, profile.integer_layers) == (4, 4)


def test_codes_are_as_tensorrt_wants_them(quantized):
    graph = onnx.load(quantized).graph
    onnx.checker.check_model(onnx.load(quantized))
    constants, makers = constants_of(graph), {node.output[0]: node for node in graph.node}
    assert {node.op_type for node in graph.node} <= KNOWN
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
    layers = [node for node in graph.node if node.op_type in CHANNEL_AXES]
    assert len(layers) == 3
    for layer in layers:
        data, weights = (makers[name] for name in layer.input[:2])
        assert makers[data.input[0]].op_type == "QuantizeLinear"
        assert constants[data.input[1]].ndim == 0
        codes, scales = constants[weights.input[0]], constants[weights.input[1]]
        assert codes.dtype == np.int8
        assert codes.min() >= -127
        assert len(scales) == codes.shape[CHANNEL_AXES[layer.op_type]]
        assert constants[layer.input[2]].dtype == np.float32  # its bias


def test_the_calibration_table_has_the_scales_in_the_file(quantized):
    header, *lines = calibration_table(quantized).splitlines()
    assert header.endswith("-EntropyCalibration2")
    graph = onnx.load(quantized).graph
    scales = {
        node.input[0]: constants_of(graph)[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"
    }
    found = {name: struct.unpack(">f", bytes.fromhex(bits))[0] for name, bits in (one.split(": ") for one in lines)}
    assert found == {name: float(scale) for name, scale in scales.items()}
    assert len(found) == 3


def test_bounds_come_from_clipping(network, tmp_path):
    """Where values have a long tail, the largest one does not set the step of all others."""
    random = np.random.default_rng(0)
    seen = torch.from_numpy(random.standard_t(3, (64, 3, 16, 16)).astype(np.float32))
    path = tmp_path / "generator.trt.onnx"
    TARGET.write(network, path, pictures(2), "int8", seen)
    graph = onnx.load(path).graph
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "source")
    bound = 127 * float(constants_of(graph)[first.input[1]])
    assert 3 < bound < 0.95 * float(seen.abs().max())


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).real


@pytest.mark.slow  # torch's exporter takes seconds to import
def test_operator_that_tensorrt_has_not_is_named(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Spectrum())
    with pytest.raises(
        UnsupportedGenerator, match=r"^TensorRT cannot run Sequential: it does not support the operator DFT$"
    ):
        TARGET.write(model, tmp_path / "x.trt.onnx", pictures(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_operator_that_tensorrt_has_not_is_named_with_its_layer(tmp_path):
    model = nn.Sequential()
    model.add_module("body", nn.Conv2d(3, 3, 1))
    model.add_module("head", Determinant())
    with pytest.raises(UnsupportedGenerator, match=r"it does not support the operator \w*det\w* of layer 'head'$"):
        TARGET.write(model, tmp_path / "x.trt.onnx", pictures(2))


class Determinant(nn.Module):
    def forward(self, x):
        return x * torch.linalg.det(x)[..., None, None]


def test_calibration_inputs_are_asked_for(network, tmp_path):
    with pytest.raises(ConfigError, match=r"int8 for 'tensorrt' needs calibration inputs, found none"):
        TARGET.write(network, tmp_path / "x.trt.onnx", pictures(1), "int8")


def test_the_card_says_that_it_was_not_run_here_and_claims_no_time(network, tmp_path):
    path = tmp_path / "generator.trt.onnx"
    facts, proof = proven_export(TARGET, network, path, pictures(8, seed=1), ExportSettings("int8"), pictures(8), 5)
    card = write_card(path, network, pictures(1), proof, LINEAGE, facts=facts)
    assert (card.speed, card.stand_in, card.form) == (None, "ONNX Runtime on the CPU", "native")
    assert card.quantization.scheme.startswith("ganpress, static: weights symmetric per channel")
    assert card.kernels.integer_layers == 3
    assert path.with_name("generator.check.npz").is_file()


def test_pictures_of_any_size(network, tmp_path):
    path = tmp_path / "generator.trt.onnx"
    proven_export(TARGET, network, path, pictures(4), ExportSettings(any_size=True))
    assert compare_outputs(network, TARGET.open(path), pictures(2, 24)).snr_db > 100
