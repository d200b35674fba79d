"""Weights as people save them: wrapped, prefixed, halved, parametrised, in shards; and files without weights."""

import argparse
import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from ganpress.errors import CheckpointError
from ganpress.imported.users_weights import load_users_weights_
from ganpress.imported.weight_files import read_weights_file


class Net(nn.Module):
    def __init__(self, wrap=lambda layer: layer):
        super().__init__()
        self.a = wrap(nn.Conv2d(3, 8, 3, padding=1))
        self.up = wrap(nn.ConvTranspose2d(8, 6, 4, 2, 1))
        self.b = nn.BatchNorm2d(6)
        self.c = wrap(nn.Conv2d(6, 3, 1))

    def forward(self, x):
        return self.c(self.b(self.up(torch.relu(self.a(x)))))


def network(wrap=lambda layer: layer, seed=0):
    torch.manual_seed(seed)
    return Net(wrap).eval()


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


STATE = network(seed=1).state_dict()
OTHER = network(seed=2).state_dict()
DISCRIMINATOR = {"d.weight": torch.zeros(4, 4)}


def loaded(path, key=None, into=None, trusted=False):
    """The network with a file's weights, and what was said."""
    into = into or network()
    return into, load_users_weights_(into, read_weights_file(path, trusted), str(path), key)


def images(one):
    with torch.no_grad():
        return one(torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8))


def expected(state=STATE):
    one = network()
    one.load_state_dict(state)
    return images(one)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (STATE, None),
        (prefixed(STATE, "module."), "module"),
        (prefixed(STATE, "netG."), "netG"),
        (prefixed(STATE, "_orig_mod."), None),
        (prefixed(STATE, "module.netG._orig_mod."), "module.netG"),
        ({"state_dict": STATE, "epoch": 3}, "state_dict"),
        ({"g": OTHER, "d": DISCRIMINATOR, "g_ema": STATE}, "g_ema"),
        ({"params": OTHER, "params_ema": STATE}, "params_ema"),
        ({"epoch": 1, "netG": prefixed(STATE, "module."), "netD": DISCRIMINATOR, "lr": 1e-4}, "netG.module"),
        ({"models": {"generator": STATE, "discriminator": DISCRIMINATOR}}, "models.generator"),
        (
            {"state_dict": {**prefixed(STATE, "generator."), **prefixed(DISCRIMINATOR, "critic.")}, "callbacks": {}},
            "state_dict.generator",
        ),
        ({"state_dict": STATE, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5)}, "state_dict"),
    ],
)
def test_weights_are_found_whatever_is_around_them(tmp_path, content, place):
    torch.save(content, tmp_path / "w.pth")
    found, said = loaded(tmp_path / "w.pth")
    assert torch.equal(images(found), expected())
    assert said == (
        [] if place is None else [f"the weights are those under '{place}' in the file; --weights-key names others"]
    )


def test_a_key_names_other_weights(tmp_path):
    torch.save({"g": OTHER, "g_ema": STATE}, tmp_path / "w.pth")
    assert torch.equal(images(loaded(tmp_path / "w.pth", "g")[0]), expected(OTHER))
    with pytest.raises(
        CheckpointError, match=r"no tensors under 'gg'; the file holds tensors under 'g' \(11 tensors\), 'g_ema'"
    ):
        loaded(tmp_path / "w.pth", "gg")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_halves_become_floats(tmp_path, kind):
    state = {name: one.to(kind) if one.is_floating_point() else one for name, one in STATE.items()}
    torch.save(state, tmp_path / "w.pth")
    found, said = loaded(tmp_path / "w.pth")
    assert {one.dtype for one in found.parameters()} == {torch.float32}
    assert torch.allclose(images(found), expected(), atol=0.05)
    assert f"{str(kind).removeprefix('torch.')} in the file, became float32" in said[0]


WRAPS = {
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrized_weight_norm": parametrizations.weight_norm,
    "parametrized_spectral_norm": parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_parametrised_weights_fit_a_plain_network_and_plain_ones_a_parametrised(tmp_path, wrap):
    trained = network(wrap, seed=1)
    trained.train()(torch.rand(2, 3, 8, 8))  # spectral norm: its vectors are those of the weights
    trained.eval()
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    plain, said = loaded(tmp_path / "w.pth")
    assert torch.allclose(images(plain), images(trained), atol=1e-5)
    assert said == ["3 layers of the file had weight or spectral normalisation, folded into plain weights"]
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    again, _ = loaded(tmp_path / "plain.pth", into=network(wrap))
    assert torch.allclose(images(again), images(trained), atol=1e-5)


def test_safetensors_in_shards_and_in_the_folder_of_a_published_model(tmp_path):
    names = list(STATE)
    shards = {"model-1-of-2.safetensors": names[:4], "model-2-of-2.safetensors": names[4:]}
    for file, own in shards.items():
        save_file({name: STATE[name].clone() for name in own}, tmp_path / file)
    index = {"weight_map": {name: file for file, own in shards.items() for name in own}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(images(loaded(tmp_path)[0]), expected())
    assert torch.equal(images(loaded(tmp_path / "model.safetensors.index.json")[0]), expected())
    (tmp_path / "model-2-of-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-2-of-2.safetensors does not exist"):
        loaded(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_programs_are_read_for_their_weights(tmp_path):
    trained = network(seed=1)
    torch.jit.script(trained).save(str(tmp_path / "scripted.pt"))
    torch.export.save(torch.export.export(trained, (torch.rand(1, 3, 8, 8),)), tmp_path / "program.pt2")
    for name in ("scripted.pt", "program.pt2"):
        assert torch.equal(images(loaded(tmp_path / name)[0]), expected())


def test_a_pickled_module_is_run_only_where_it_is_trusted(tmp_path):
    torch.save(network(seed=1), tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"it contains .*test_users_weights.Net.*add --trust, which runs its code"
    ) as caught:
        loaded(tmp_path / "w.pth")
    assert "weights_only" not in str(caught.value)
    assert torch.equal(images(loaded(tmp_path / "w.pth", trusted=True)[0]), expected())


def test_what_is_no_weights_is_named(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(2))
    (tmp_path / "page.pth").write_text("\n<!DOCTYPE html><html>")
    (tmp_path / "g.onnx").write_bytes(b"\x08\x0a")
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "x")
    for name, words in {
        "w.npz": r"NumPy's \.npz: `torch\.save",
        "page.pth": "is a web page, not weights",
        "g.onnx": "is an ONNX graph",
        "pointer.pth": "git lfs pull",
        "other.pth": "is a zip archive of other files",
    }.items():
        with pytest.raises(CheckpointError, match=words):
            read_weights_file(tmp_path / name)


def test_an_archive_whose_names_are_no_utf8_is_refused_in_one_line(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"\u00e9": torch.zeros(2)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w/\u00e9", b"")  # a name that is marked as UTF-8
    content = path.read_bytes()
    assert content.count("/\u00e9".encode()) == 2
    path.write_bytes(content.replace("/\u00e9".encode(), b"/\xff\xff"))
    with pytest.raises(CheckpointError, match="damaged or not a weights file") as caught:
        read_weights_file(path)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_named_with_what_else_there_is(tmp_path):
    torch.save({"netG": {**STATE, "c.weight": torch.zeros(3, 7, 1, 1)}, "netD": DISCRIMINATOR}, tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError,
        match=r"'netG': 'c.weight' is \(3, 7, 1, 1\), this architecture needs \(3, 6, 1, 1\).*'netD' \(1 tensors\)",
    ):
        loaded(tmp_path / "w.pth")
