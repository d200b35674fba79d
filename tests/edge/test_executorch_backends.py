"""ExecuTorch's backends for other processors: what is compared with torch is what stands in the file."""

import numpy as np
import pytest
import torch
from torch import nn

from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas

BACKENDS = [
    pytest.param(name, marks=pytest.mark.needs_target(name)) for name in ("executorch_vulkan", "executorch_coreml")
]
pytestmark = pytest.mark.slow  # importing and lowering take half a minute


class Odd(nn.Module):
    """A convolution and an operator that no backend takes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.head = Bessel()

    def forward(self, x):
        return self.head(self.body(x))


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def written(name, model, example, folder):
    (path,) = TARGETS[name].write(model, folder / f"generator{TARGETS[name].suffix}", example)
    return path


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    ("generator", "canvas"),
    [
        ("resnet_9blocks:ngf=4", Canvas(3, 32, 32, 3)),
        ("edge_resnet_9blocks:ngf=4", Canvas(3, 32, 32, 3)),
        ("unet_32:ngf=4", Canvas(3, 32, 32, 3)),
        ("spade:ngf=4 upsampling=normal semantic=3", Canvas(3, 64, 64, 3)),
    ],
)
def test_the_whole_network_is_the_backends(name, generator, canvas, tmp_path):
    torch.manual_seed(0)
    model = generator_blueprint(generator, canvas).build().eval()
    pictures = torch.rand(2, 3, canvas.height, canvas.width) * 2 - 1
    path = written(name, model, pictures, tmp_path)
    assert compare_outputs(model, TARGETS[name].open(path), pictures).snr_db > 90
    assert TARGETS[name].kernels(path, pictures[:1]).layers >= 6


@pytest.mark.parametrize("name", BACKENDS)
def test_the_weights_in_the_file_are_what_is_proven(name, trained_like, tmp_path):
    model, z = trained_like("4", 16, 1), torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    path = written(name, model, z, tmp_path)
    target = TARGETS[name].open(path)
    assert compare_outputs(model, target, z).snr_db > 100
    content = bytearray(path.read_bytes())
    bias = next(one for one in model.state_dict().values() if one.dim() == 4 and one.shape[1] == 1)
    weights = bias.numpy().tobytes()
    place = bytes(content).find(weights)
    assert place > 0
    content[place : place + len(weights)] = (2 * np.frombuffer(weights, np.float32)).tobytes()
    path.write_bytes(content)
    assert compare_outputs(model, TARGETS[name].open(path), z).snr_db < 20


@pytest.mark.parametrize("name", BACKENDS)
def test_an_operator_that_the_backend_does_not_take_is_named_with_its_layer(name, tmp_path):
    with pytest.raises(UnsupportedGenerator, match="the operator special_bessel_j0 of layer 'head'"):
        written(name, Odd().eval(), torch.zeros(1, 3, 8, 8), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", BACKENDS)
def test_damaged_files_and_those_of_another_backend_are_refused(name, trained_like, tmp_path):
    z = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    path = written(name, trained_like("2", 16, 1), z, tmp_path)
    content = path.read_bytes()
    (other,) = {"executorch_vulkan", "executorch_coreml"} - {name}
    if TARGETS[other].missing() is None:
        with pytest.raises(CheckpointError, match="cannot be loaded: it is no program of"):
            TARGETS[other].open(path)
    for damaged in (b"", content[: len(content) // 2], b"\xff" * 4096):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="cannot be loaded: .*; export it again"):
            TARGETS[name].open(path)
