"""`ganpress apply`: exported files on pictures of other sizes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from flows.__main__ import main
from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.direct.compressing import compress
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Lineage
from ganpress.edge.proof.verification import verify_export


class Sharper(nn.Module):
    """Twice as large, by convolutions alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2), nn.Tanh()
        )

    def forward(self, x):
        return self.layers(x)


def export(model, example, folder):
    """Write a file and its card as the stage `export` does, without timing it."""
    path = folder / "generator.onnx"
    export_onnx(model.eval(), path, example)
    lineage = Lineage(source="mine", source_md5="", builder="imported")
    write_card(path, model, example[:1], verify_export(model, path, example, tolerance=1e-4), lineage)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate([(50, 70), (32, 32), (41, 33), (90, 40)]):
        coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(Sharper(), torch.rand(2, 3, 32, 32), tmp_path_factory.mktemp("sharper"))


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["ganpress", "apply", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_pictures_of_any_size_are_drawn_as_the_network_draws_them(exported, pictures, tmp_path, monkeypatch, capsys):
    assert json.loads((exported / "card.json").read_text())["receptive_field"] == {"reach": 2, "stride": 1}
    assert run(monkeypatch, exported, pictures, "-o", tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "140x100 pixels, 6 tiles, with the same result as one pass over the whole picture",
        "64x64 pixels, 1 tile, with the same result as one pass over the whole picture",
        "66x82 pixels, 4 tiles, with the same result as one pass over the whole picture",
        "80x180 pixels, 8 tiles, with the same result as one pass over the whole picture",
    ]
    for path in sorted(pictures.glob("*.png")):
        pixels = torch.from_numpy(np.asarray(Image.open(path)).transpose(2, 0, 1).copy())[None]
        with torch.no_grad():
            expected = images_to_uint8(Sharper().eval()(uint8_to_images(pixels)))[0].numpy().transpose(1, 2, 0)
        found = np.asarray(Image.open(tmp_path / "out" / path.name)).astype(int)
        assert np.abs(found - expected).max() <= 1


def test_colours_and_grey_are_brought_to_what_the_file_reads(exported, tmp_path, monkeypatch):
    grey = np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey] * 3, 2)).save(tmp_path / "colour.png")
    assert run(monkeypatch, exported, tmp_path / "grey.png", tmp_path / "colour.png", "-o", tmp_path / "out") == 0
    drawn = [np.asarray(Image.open(tmp_path / "out" / f"{name}.png")) for name in ("grey", "colour")]
    np.testing.assert_array_equal(*drawn)


def test_files_that_are_there_are_kept(exported, pictures, tmp_path, monkeypatch, capsys):
    (tmp_path / "1.png").write_bytes(b"mine")
    assert run(monkeypatch, exported, pictures / "0.png", pictures / "1.png", "-o", tmp_path) == 2
    assert "1.png exists already; name another folder, or add --overwrite" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png"]
    assert run(monkeypatch, exported, pictures / "1.png", "-o", tmp_path, "--overwrite") == 0
    assert Image.open(tmp_path / "1.png").size == (64, 64)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["absent.png"], "absent.png does not exist"),
        (["empty"], "there are no pictures; name files"),
        (["text.png"], "text.png cannot be decoded"),
        (["a.png", "sub/a.png"], "2 pictures would be written as"),
    ],
)
def test_wrong_pictures_end_in_one_line(names, message, exported, pictures, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    for place in ("a.png", "sub/a.png"):
        (tmp_path / place).write_bytes((pictures / "0.png").read_bytes())
    assert run(monkeypatch, exported, *(tmp_path / name for name in names), "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_generator_of_latents_and_a_folder_without_a_file_are_refused(pictures, tmp_path, monkeypatch, capsys):
    latent = nn.Sequential(nn.Linear(4, 3 * 8 * 8), nn.Unflatten(1, (3, 8, 8)), nn.Tanh())
    export(latent, torch.randn(2, 4), tmp_path / "latent")
    assert run(monkeypatch, tmp_path / "latent", pictures, "-o", tmp_path / "out") == 2
    assert "reads latents, not pictures; use `ganpress demo` for it" in capsys.readouterr().err
    assert run(monkeypatch, pictures, pictures, "-o", tmp_path / "out") == 2
    assert "holds no exported generator" in capsys.readouterr().err


def test_a_file_of_any_size_gets_the_whole_picture(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ganpress.edge.proven_export.peak_memory", lambda *_: None)
    compress(Sharper(), tmp_path / "any", example=(1, 3, 32, 32), data=pictures, method="float", any_size=True)
    assert run(monkeypatch, tmp_path / "any", pictures / "3.png", "-o", tmp_path / "out") == 0
    assert "80x180 pixels, 1 tile, with the same result as one pass over the whole picture" in capsys.readouterr().out
