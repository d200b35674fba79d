"""ncnn: the two pitfalls of its Python packages, and operators that pnnx omits without an error."""

import gc

import numpy as np
import pytest
import torch
from torch import nn

from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS

TARGET = TARGETS["ncnn"]
pytestmark = pytest.mark.needs_target("ncnn")
SLOW = pytest.mark.slow  # torch imports what it traces with
PICTURES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def latents(images):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(0))


def sequential(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), *layers).eval()


class EveryFourth(nn.Module):
    def forward(self, x):
        return x[:, :, ::4, ::4]


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class LessTheMeanOfTheBatch(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


@SLOW
def test_pnnx_writes_no_python_for_a_bare_sequential_network(tmp_path, monkeypatch):
    """The trap: attributes named by numbers. pnnx's own function imports what it wrote."""
    import pnnx

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SyntaxError):
        pnnx.export(sequential(nn.Tanh()), str(tmp_path / "bare.pt"), PICTURES[:1])


def test_a_bare_sequential_network_is_written_and_right(tmp_path):
    model = sequential(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 1, 1)), nn.Tanh())
    files = TARGET.write(model, tmp_path / "x.param", PICTURES)
    assert files == (tmp_path / "x.param", tmp_path / "x.bin")
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert compare_outputs(model, TARGET.open(files[0]), PICTURES).snr_db > 100


def test_ncnn_borrows_the_memory_of_an_array():
    """The trap: an array that is gone, or changed, before ncnn reads it; a copy of its own is none."""
    import ncnn

    values = np.ones((1, 2, 2), np.float32)
    borrowed, copied = ncnn.Mat(values), ncnn.Mat(values).clone()
    values[:] = 7
    assert np.array(borrowed).min() == 7
    assert np.array(copied).max() == 1


def test_images_are_not_borrowed(tmp_path):
    model = sequential(nn.Tanh())
    generator = TARGET.open(TARGET.write(model, tmp_path / "x.param", PICTURES)[0])
    first = generator(PICTURES[:2])
    kept = first.clone()
    for _ in range(3):
        generator(PICTURES[2:])
    del generator
    gc.collect()
    assert torch.equal(first, kept)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        pytest.param(Bessel(), "the operator special_bessel_j0 of layer '1'", marks=SLOW),
        (EveryFourth(), "slice"),
        (LessTheMeanOfTheBatch(), "mean along batch axis is not supported"),
    ],
)
def test_what_pnnx_leaves_out_is_refused(tmp_path, layer, named):
    """pnnx ends with exit code 0 and files; those of the last one can be loaded, and draw something else."""
    with pytest.raises(UnsupportedGenerator, match=named) as error:
        TARGET.write(sequential(layer), tmp_path / "x.param", PICTURES)
    assert str(error.value).startswith("ncnn cannot run Sequential: ")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_floats_are_not_computed_in_halves(trained_like, tmp_path):
    """The trap: ncnn's own default, of whatever file."""
    import ncnn

    defaults = ncnn.Net().opt
    assert defaults.use_fp16_storage
    assert defaults.use_fp16_packed
    model = trained_like("16", 32, 1)
    path = TARGET.write(model, tmp_path / "x.param", latents(2))[0]
    assert compare_outputs(model, TARGET.open(path), latents(8)).snr_db > 100


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".param", ".bin"])
def test_truncated_file_is_refused(trained_like, tmp_path, suffix, share):
    """A network whose weights were not read ends the process when it runs."""
    path = TARGET.write(trained_like("2", 16, 1), tmp_path / "x.param", latents(2))[0]
    place = path.with_suffix(suffix)
    content = place.read_bytes()
    place.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"x\.param cannot be loaded by ncnn: .*; export it again"):
        TARGET.open(path)


def test_names_that_are_no_text_are_refused(trained_like, tmp_path):
    """A finding of the fuzzer: ncnn loads them, and fails when it names its inputs."""
    path = TARGET.write(trained_like("2", 16, 1), tmp_path / "x.param", latents(2))[0]
    content = path.read_bytes()
    for name in (b"z ", b"image"):
        path.write_bytes(content.replace(name, b"\xff" * len(name)))
        with pytest.raises(CheckpointError, match=r"x\.param cannot be loaded by ncnn: it is no ASCII text"):
            TARGET.open(path)


def test_a_missing_file_is_named(trained_like, tmp_path):
    path = TARGET.write(trained_like("2", 16, 1), tmp_path / "x.param", latents(2))[0]
    path.with_suffix(".bin").unlink()
    with pytest.raises(CheckpointError, match=r"x\.bin does not exist; export the generator first"):
        TARGET.open(path)
