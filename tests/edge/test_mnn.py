"""MNN: reproducible files, the behaviour of its own tools, and a fault that the verification finds."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from ganpress.edge.proof.verification import verify_export
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError, ExportMismatch
from ganpress.registries import TARGETS

TARGET = TARGETS["mnn"]
pytestmark = pytest.mark.needs_target("mnn")
SLOW = pytest.mark.slow  # torch's exporter takes seconds to import, and so does a process of its own
PICTURES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def latents(images):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(0))


def behind_convolution(layer):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 1), layer).eval()


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).real


class Length(nn.Module):
    def forward(self, x):
        return torch.tanh(x * torch.linalg.norm(x, dim=1, keepdim=True))


def test_the_same_generator_gives_the_same_bytes(trained_like, tmp_path):
    """MNN itself draws a random number for each file."""
    model = trained_like("2", 16, 1)
    contents = set()
    for name in ("a", "b"):
        (path,) = TARGET.write(model, tmp_path / f"{name}.mnn", latents(2))
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_weights_of_eight_bits_need_no_calibration_and_are_a_quarter_of_the_bytes(trained_like, tmp_path):
    model = trained_like("16", 32, 1)
    (small,) = TARGET.write(model, tmp_path / "small.mnn", latents(2), "int8_weights")
    (full,) = TARGET.write(model, tmp_path / "full.mnn", latents(2))
    assert small.stat().st_size < 0.3 * full.stat().st_size
    assert TARGET.kernels(small, latents(1)).integer_layers == 0  # MNN decodes them when it loads the file


def test_integers_multiply_in_every_layer(trained_like, tmp_path):
    (path,) = TARGET.write(trained_like("16", 32, 1), tmp_path / "x.mnn", latents(2), "int8", latents(16))
    profile = TARGET.kernels(path, latents(1))
    assert (profile.layers, profile.integer_layers) == (4, 4)


@SLOW
def test_operator_that_mnn_has_not_is_named(tmp_path):
    with pytest.raises(UnsupportedGenerator, match=r"^MNN cannot run Sequential: the operator DFT$"):
        TARGET.write(behind_convolution(Spectrum()), tmp_path / "x.mnn", PICTURES)
    assert not list(tmp_path.iterdir())


@SLOW
def test_a_fault_of_mnn_is_found(tmp_path):
    """MNN 3.6.1 computes ONNX's ReduceL2 wrongly and says nothing."""
    model = behind_convolution(Length())
    (path,) = TARGET.write(model, tmp_path / "x.mnn", PICTURES)
    with pytest.raises(ExportMismatch, match=r"x\.mnn"):
        verify_export(model, path, PICTURES, 0.001, target=TARGET)


@SLOW
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file_is_refused(trained_like, tmp_path, share):
    (path,) = TARGET.write(trained_like("2", 16, 1), tmp_path / "x.mnn", latents(2))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"x\.mnn cannot be loaded by MNN: it is damaged; export it again"):
        TARGET.open(path)


@SLOW
def test_nothing_is_printed_and_the_commands_that_report_are_not_imported(trained_like, tmp_path):
    """`MNN.tools` installs a package by pip and sends what was converted to its makers."""
    TARGET.write(trained_like("2", 16, 1), tmp_path / "x.mnn", latents(2))
    code = (
        "import sys, torch\nfrom pathlib import Path\nfrom ganpress.registries import TARGETS\n"
        "TARGETS['mnn'].open(Path(sys.argv[1]))(torch.zeros(3, 100))\n"
        "assert not [name for name in sys.modules if name.startswith(('MNN.tools', 'aliyun'))]"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.mnn"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
