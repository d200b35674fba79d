"""Conditional generators on ExecuTorch: XNNPACK runs all of it, in floats and in integers."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.edge.proof.kernels import profile_of
from ganpress.edge.targets.executorch_profile import portable_operators
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas

TARGET = TARGETS["executorch"]
pytestmark = [
    pytest.mark.slow,  # importing and lowering take a quarter of a minute each
    pytest.mark.skipif(TARGET.missing() is not None, reason=f"needs {TARGET.missing()}"),
]


def pictures(images, channels, size):
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(images, channels, size // 8, size // 8, generator=random)
    return functional.interpolate(coarse, size=size, mode="bilinear").tanh()


def layers_of_all_channels(model):
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    return sum(layer.groups == 1 for layer in layers)  # depthwise ones stay in floats


@pytest.mark.parametrize(
    ("name", "size", "snr_db"),
    [
        ("resnet_9blocks:ngf=4", 32, 15),
        ("mobile_resnet_9blocks:ngf=4", 32, 15),
        ("spade:ngf=4 upsampling=normal semantic=3", 64, 15),
    ],
)
def test_xnnpack_runs_all_of_a_conditional_generator(tmp_path, name, size, snr_db):
    torch.manual_seed(0)
    model = generator_blueprint(name, Canvas(3, size, size, reads=3)).build().eval()
    inputs = pictures(5, 3, size)
    for number_type, near, in_integers in (("float32", 90, 0), ("int8", snr_db, layers_of_all_channels(model))):
        path = tmp_path / f"{number_type}.pte"
        TARGET.write(model, path, inputs[:2], number_type, inputs[3:])
        assert compare_outputs(model, TARGET.open(path), inputs[:3]).snr_db > near
        profile = TARGET.kernels(path, inputs[:1])
        assert portable_operators(profile) == ()
        assert profile.integer_layers == in_integers


def test_portable_kernels_are_told_from_xnnpacks():
    profile = profile_of(
        [("Convolution", "float32", True, 3.0), ("index.Tensor_out", "float32", False, 1.0)],
    )
    assert portable_operators(profile) == ("index.Tensor_out",)
