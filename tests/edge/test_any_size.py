"""Files that take pictures of any height and width."""

import pytest
import torch
from torch import nn

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.forms.any_size import other_size
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.edge.proven_export import ExportSettings, proven_export
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError, ConfigError
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas

SETTINGS = ExportSettings(form="native", latency_rounds=2, any_size=True)


def network(name="resnet_9blocks:ngf=4", size=32):
    torch.manual_seed(0)
    return generator_blueprint(name, Canvas(3, size, size, 3)).build().eval()


def pictures(*size):
    return torch.rand((3, 3, *size), generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    monkeypatch.setattr("ganpress.edge.proven_export.peak_memory", lambda *_: None)


def export(model, inputs, path, settings=SETTINGS, target="onnx"):
    return proven_export(TARGETS[target], model, path, inputs, settings)[0]


@pytest.mark.parametrize("name", ["resnet_9blocks:ngf=4", "mobile_resnet_9blocks:ngf=4", "edge_resnet_9blocks:ngf=4"])
def test_one_file_draws_every_size_as_torch_does(name, tmp_path):
    model = network(name)
    facts = export(model, pictures(32, 32), tmp_path / "g.onnx")
    assert facts.any_size
    runner = OnnxGenerator(tmp_path / "g.onnx")
    assert runner.input_shape == (3, 0, 0)
    for size in ((32, 32), (64, 40), (36, 100)):
        with torch.no_grad():
            torch.testing.assert_close(runner(pictures(*size)), model(pictures(*size)), atol=1e-4, rtol=0)


def test_own_integers_of_plain_convolutions_take_any_size(tmp_path):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, stride=2, padding=1), nn.Tanh()
    model = quantize(nn.Sequential(*layers).eval(), pictures(32, 32), QuantizationConfig(8, 8))
    export(model, pictures(32, 32), tmp_path / "g.onnx")
    large = pictures(48, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            OnnxGenerator(tmp_path / "g.onnx")(large), model(large), atol=model.output_step, rtol=0
        )


def test_integers_whose_pixels_are_rearranged_are_of_one_size(tmp_path):
    model = quantize(network(), pictures(32, 32), QuantizationConfig(8, 8))
    with pytest.raises(UnsupportedGenerator, match=r"depends on the size of the picture \(its first Reshape"):
        export(model, pictures(32, 32), tmp_path / "g.onnx")


def test_a_size_that_the_network_does_not_take_is_one_line(tmp_path):
    export(network(), pictures(32, 32), tmp_path / "g.onnx")
    runner = OnnxGenerator(tmp_path / "g.onnx")
    with pytest.raises(ConfigError, match=r"takes source \(N, 3, any, any\) with N >= 1, found \(1, 1, 32, 32\)"):
        runner(torch.rand(1, 1, 32, 32))
    with pytest.raises(CheckpointError, match="cannot be run by ONNX Runtime"):
        runner(torch.rand(1, 3, 2, 2))


class Placed(nn.Module):
    """Adds a picture of its own, of one size."""

    def __init__(self):
        super().__init__()
        self.conv, self.place = nn.Conv2d(3, 3, 3, padding=1), nn.Parameter(torch.rand(1, 3, 32, 32))

    def forward(self, x):
        place = nn.functional.interpolate(self.place, size=x.shape[2:])
        return (self.conv(x) + place).tanh()


def test_a_graph_that_depends_on_the_size_is_refused(tmp_path):
    with pytest.raises(UnsupportedGenerator, match=r"depends on the size of the picture \(its first .* leave any_size"):
        export(Placed(), pictures(32, 32), tmp_path / "g.onnx")


def test_latents_and_other_number_types_are_refused(tmp_path, trained_like):
    with pytest.raises(ConfigError, match="this one reads latents"):
        export(trained_like("2", 16, 1), torch.randn(3, 100), tmp_path / "g.onnx")
    settings = ExportSettings("int8", "native", latency_rounds=2, any_size=True)
    with pytest.raises(UnsupportedGenerator, match="'onnx' writes int8 files of one size"):
        proven_export(TARGETS["onnx"], network(), tmp_path / "g.onnx", pictures(32, 32), settings, pictures(32, 32))


def test_the_other_size_is_one_that_the_network_takes():
    unet = network("unet_32:ngf=4")
    with torch.no_grad():
        assert unet(other_size(unet, pictures(32, 32))).shape[2:] == other_size(unet, pictures(32, 32)).shape[2:]
