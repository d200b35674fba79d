"""The library's surface: every example in its docstrings runs, and errors are reported in one line."""

import doctest
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ganpress
from ganpress.basics.pixel_values import images_to_uint8
from ganpress.direct import distilling, generator, library
from ganpress.errors import ConfigError, DataError, GanpressError
from models.family import Canvas

CHECKOUT = Path(__file__).resolve().parents[1]


def small(latent: int = 8) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.ConvTranspose2d(latent, 16, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1)
    made = nn.Sequential(*layers, nn.Tanh())
    with torch.no_grad():
        for _ in range(50):  # as a training leaves batch normalisations
            made(torch.randn(64, latent, 1, 1))
    return made.eval()


@pytest.fixture(scope="module")
def teacher():
    return ganpress.Generator.of(small(), example=(1, 8, 1, 1))


def test_every_example_in_the_docstrings_runs():
    found = [doctest.testmod(one, optionflags=doctest.ELLIPSIS) for one in (generator, library)]
    assert sum(one.attempted for one in found) >= 20
    assert not any(one.failed for one in found)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, ganpress; print(sorted({'torch', 'mlflow', 'prefect', 'dvc'} & set(sys.modules)), dir(ganpress))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT).stdout
    assert said.startswith("[] ")
    assert all(name in said for name in ganpress.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ganpress.nothing  # noqa: B018


def test_a_student_of_half_the_channels_learns_the_teachers_pictures(teacher):
    untrained = distilling._first_student(teacher, 50, 0)
    student = ganpress.distil(teacher, 50, images=12_800, batch_size=64)
    assert student.parameters < 0.6 * teacher.parameters
    before, after = (ganpress.evaluate(one, against=teacher)["snr_db"] for one in (untrained, student))
    assert after > before + 3
    file = ganpress.quantize(student)
    assert file.original is student.network
    assert ganpress.evaluate(file, against=student)["snr_db"] > 20


def test_a_teacher_of_pictures_needs_a_folder(teacher):
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    pictures = ganpress.Generator.of(network, example=(1, 3, 16, 16))
    with pytest.raises(ConfigError, match="give a folder"):
        ganpress.distil(pictures, 50)
    with pytest.raises(ConfigError, match="give a folder"):
        ganpress.quantize(pictures)


def test_a_student_of_pairs_needs_no_code_of_the_teachers(teacher, tmp_path):
    z = teacher.inputs(300)
    np.save(tmp_path / "inputs.npy", z.numpy())
    for number, image in enumerate(images_to_uint8(teacher(z)).numpy()):
        Image.fromarray(image[0]).save(tmp_path / f"{number:04d}.png")
    pairs = ganpress.Pairs.read(tmp_path)
    assert torch.equal(pairs.inputs, z)
    assert torch.allclose(pairs.images, teacher(z), atol=1 / 127)
    other = ganpress.Generator.of(small(), example=(1, 8, 1, 1))
    assert ganpress.evaluate(other, against=teacher)["snr_db"] == math.inf
    torch.manual_seed(3)
    for layer in other.network.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    begun = ganpress.evaluate(other, against=teacher)["snr_db"]
    student = ganpress.distil(pairs, other, images=12_800)
    assert ganpress.evaluate(student, against=teacher)["snr_db"] > begun + 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "inputs.npy").unlink(), "needs inputs.npy"),
        (lambda folder: (folder / "inputs.npy").write_bytes(b"nothing"), "needs inputs.npy"),
        (lambda folder: (folder / "0.png").unlink(), "holds 1 pictures, and inputs.npy 2 rows"),
        (lambda folder: Image.new("L", (4, 4)).save(folder / "0.png"), "different sizes"),
        (lambda folder: (folder / "0.png").write_bytes(b"nothing"), "0.png"),
    ],
)
def test_a_folder_of_pairs_that_is_wrong_is_refused_in_one_line(tmp_path, change, message):
    np.save(tmp_path / "inputs.npy", np.zeros((2, 8), np.float32))
    for number in range(2):
        Image.new("L", (8, 8)).save(tmp_path / f"{number}.png")
    assert len(ganpress.Pairs.read(tmp_path).images) == 2
    change(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        ganpress.Pairs.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_speedrun_goes_from_digits_to_an_edge_file(tmp_path):
    command = [sys.executable, str(CHECKOUT / "examples" / "speedrun.py"), "--scale", "0.01", "--out", "made"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "made" / "generator.onnx").is_file()
    rows = [line for line in done.stdout.splitlines() if "FID" in line]
    assert [row.split(",")[0] for row in rows[:2]] == ["teacher", "student"]
    assert len((CHECKOUT / "examples" / "speedrun.py").read_text().splitlines()) < 120


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: ganpress.distil(one, 0), "1 to 100 percent"),
        (lambda one: ganpress.distil(one, "wdcgan:two"), "wdcgan"),
        (lambda one: ganpress.distil(one, "nothing:2"), "nothing"),
        (
            lambda one: ganpress.distil(one, ganpress.Generator.fresh("wdcgan:2", Canvas(1, 32, 32))),
            "shapes that differ",
        ),
        (lambda one: ganpress.distil(one, 50, images=0), "train_images"),
        (lambda one: ganpress.quantize(one, "w9a9"), "quantizes nothing"),
        (lambda one: ganpress.quantize(one, "float"), "quantizes nothing"),
        (lambda one: ganpress.quantize(ganpress.quantize(one)), "already quantized"),
        (lambda one: ganpress.export(one, "out", target="nowhere"), "nowhere"),
        (lambda one: ganpress.export(one, "out", number_type="int3"), "int3"),
        (lambda _: ganpress.Generator.of(small()), "example"),
        (lambda one: ganpress.distil(ganpress.Pairs(one.inputs(4), one(one.inputs(4)))), "give the student"),
    ],
)
def test_what_is_wrong_is_one_line(teacher, call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GanpressError, match=message) as caught:
        call(teacher)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
