"""`ganpress compress` and its function: one call from a generator to a folder with a verified file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from ganpress.direct.compressing import compress
from ganpress.direct.given_inputs import given_inputs, lessons, parted
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import ConfigError, DataError

FOREIGN = Path(__file__).parent / "foreign"
MODELS = "from torch import nn\n\n\ndef conv(a, b):\n    return nn.Conv2d(a, b, 3, padding=1)\n"
MINE = """
import argparse

from torch import nn

from models import conv

argparse.ArgumentParser().parse_args()


def build():
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 3), nn.Tanh())
"""


def sharpener():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1), nn.Tanh())


@pytest.fixture
def pictures(tmp_path):
    photograph = Image.fromarray(load_sample_image("flower.jpg"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place in range(8):
        photograph.crop((place * 50, place * 30, place * 50 + 120, place * 30 + 90)).save(folder / f"p{place}.png")
    return folder


def test_a_module_and_a_folder_of_pictures_become_a_proven_file(tmp_path, pictures):
    said = []
    network = sharpener()
    out = tmp_path / "out"
    made = compress(network, out, example=(1, 3, 32, 32), data=pictures, say=said.append)
    assert [line[:4] for line in said if line[0].isdigit()] == ["1/5 ", "2/5 ", "3/5 ", "4/5 ", "5/5 "]
    assert set(made.decibels) == {"p6.png", "p7.png"}  # a quarter is held out
    assert min(made.decibels.values()) > 25
    assert made.card.number_type == "w8a8"
    assert made.card.kernels.integer_layers == 2
    assert made.size_bytes == made.file.stat().st_size < made.size_bytes_before
    summary = json.loads((out / "summary.json").read_text())
    assert summary["milliseconds"] == made.milliseconds > 0
    assert summary["decibels"] == {name: round(value, 2) for name, value in made.decibels.items()}
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert (OnnxGenerator(made.file, 1)(x) - network(x)).abs().mean() < 0.02
    before_and_after = sorted((out / "pictures").iterdir())
    assert [path.name for path in before_and_after] == ["00-p6.png", "01-p7.png"]
    assert Image.open(before_and_after[0]).size == (3 * 32 + 2 * 2, 32)  # what was read, before, after


@pytest.mark.slow
def test_two_bits_are_trained_where_that_is_asked_for(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("ganpress.direct.compressing.PICTURE_LESSONS", {"train_images": 400, "batch_size": 4})
    network = sharpener()
    rounded, trained = (
        compress(network, tmp_path / method, example=(1, 3, 32, 32), data=pictures, method=method)
        for method in ("w2a8", "qad-w2a8")
    )
    assert trained.card.quantization.weight_bits == 2
    assert min(trained.decibels.values()) > max(rounded.decibels.values()) + 2


def test_a_latent_generator_needs_no_data(tmp_path, monkeypatch):
    shutil.copy(FOREIGN / "adapters.py", tmp_path / "models.py")  # a name that this project has, too
    monkeypatch.chdir(tmp_path)
    made = compress("models.py:dcgan", Path("out"), example=(1, 16, 1, 1), method="w6a8")
    assert made.card.quantization.weight_bits == 6
    assert len(made.decibels) == 8
    assert min(made.decibels.values()) > 20


def test_arrays_are_data_for_what_pictures_are_not(tmp_path):
    for place in range(4):
        np.save(tmp_path / f"a{place}.npy", np.random.default_rng(place).uniform(-1, 1, (5, 16, 16)).astype(np.float32))
    made = compress(
        nn.Conv2d(5, 3, 3, padding=1), tmp_path / "out", example=(1, 5, 16, 16), data=tmp_path, method="float"
    )
    assert made.card.number_type == "float32"
    assert min(made.decibels.values()) > 100


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "reads 3x32x32: give a folder of pictures"),
        ({"method": "w9a8"}, ConfigError, "unknown method 'w9a8'; known: ptq"),
        ({"data": Path("nowhere")}, DataError, "nowhere is not a folder"),
        ({"target": "toaster"}, ConfigError, "toaster"),
    ],
)
def test_refusals_come_before_anything_is_written(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        compress(sharpener(), tmp_path / "out", example=(1, 3, 32, 32), **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="has other content"):
        compress(sharpener(), tmp_path, example=(1, 3, 32, 32))
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.slow
def test_the_command_needs_no_project_and_minds_no_names(tmp_path, pictures):
    """Files called as this project's packages, one that reads its command line, one beside it that it imports."""
    (tmp_path / "tasks.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "mine.py").write_text(MINE)
    program = Path(sys.executable).with_name("ganpress")
    arguments = ["compress", "mine.py:build", "--example-input", "1x3x32x32", "--data", "pictures", "-o", "out"]
    ended = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "SNR of each picture to that of the original, in dB: p6.png" in ended.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"generator.onnx", "card.json", "summary.json"}


@pytest.fixture
def short_lessons(monkeypatch):
    monkeypatch.setattr("ganpress.direct.compressing.LATENT_LESSONS", {"train_images": 640, "batch_size": 32})


def latent_generator():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ConvTranspose2d(8, 32, 4), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def test_a_thinned_version_is_trained_and_then_rounded(tmp_path, short_lessons):
    said = []
    made = compress(
        latent_generator(), tmp_path / "out", example=(1, 8, 1, 1), method="thin25+distil+ptq", say=said.append
    )
    assert any("training 25 % of the channels on 640 of the generator's own images" in line for line in said)
    assert made.card.number_type == "w8a8"
    assert made.card.cost.parameters < 0.35 * sum(one.numel() for one in latent_generator().parameters())
    assert made.psnr > 15


def test_a_size_is_met_by_the_most_faithful_version(tmp_path):
    network, example = latent_generator(), (1, 8, 1, 1)
    floats = compress(network, tmp_path / "float", example=example, method="float").size_bytes
    rounded = compress(network, tmp_path / "ptq", example=example).size_bytes
    made = compress(network, tmp_path / "out", example=example, size=(floats + rounded) // 2)
    assert rounded <= made.size_bytes <= (floats + rounded) // 2
    assert made.file.is_file()
    assert made.file.parent == tmp_path / "out"
    assert not list(tmp_path.glob(".*"))


def test_a_psnr_is_met_by_the_smallest_version(tmp_path):
    network, example = latent_generator(), (1, 8, 1, 1)
    floats = compress(network, tmp_path / "float", example=example, method="float")
    rounded = compress(network, tmp_path / "ptq", example=example)
    made = compress(network, tmp_path / "out", example=example, psnr=rounded.psnr - 0.01)
    assert made.psnr >= rounded.psnr - 0.01
    assert made.size_bytes < floats.size_bytes


def test_a_goal_that_no_version_reaches_says_what_each_reaches(tmp_path):
    with pytest.raises(ConfigError, match=r"no version reaches at most 100 bytes: float .* bytes at .*; w8a8 .*"):
        compress(latent_generator(), tmp_path / "out", example=(1, 8, 1, 1), size=100)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "a size in bytes is 1 or more"),
        ({"psnr": float("nan")}, "a PSNR in decibels is a number above 0"),
        ({"method": "thin100+distil"}, "keeps 100 percent of the channels; choose 1 to 99"),
        ({"method": "thin+distil+w9"}, "unknown method"),
    ],
)
def test_goals_and_methods_that_mean_nothing_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        compress(latent_generator(), tmp_path / "out", example=(1, 8, 1, 1), **options)


def test_pictures_that_are_held_out_are_not_trained_on(pictures):
    example = torch.zeros(1, 3, 16, 16)
    names, inputs = given_inputs(example, pictures, 0)
    shown = parted(inputs)[1]
    trained = lessons(example, pictures, 0, names[-len(shown) :]).inputs
    assert len(trained) == len(names) - len(shown)
    assert not any(torch.equal(one, other) for one in trained for other in shown)
