"""Generators that come as one file, .pt2 or ONNX: the same pictures, any batch size, layers that can be quantized."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn
from torch.nn import functional

import ganpress
from ganpress.errors import CheckpointError, ConfigError, GanpressError
from ganpress.imported import program_files
from ganpress.imported.importing import ImportRequest, import_generator
from ganpress.imported.program_files import read_program

TOLERANCE = 2e-6


class OfLatents(nn.Module):
    """Dense layer, reshape with the batch as a number, transposed convolution, shuffle, split, mean, reflection."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(16, 8 * 4 * 4)
        self.up = nn.ConvTranspose2d(8, 8, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 16, 3, padding=1)
        self.groups, self.slopes = nn.GroupNorm(2, 16), nn.PReLU(16)
        self.out = nn.Conv2d(4, 3, 3)
        self.register_buffer("start", torch.randn(1, 8, 4, 4))

    def forward(self, z):
        x = self.dense(z).view(z.shape[0], 8, 4, 4) + self.start
        x = functional.leaky_relu(self.norm(self.up(x)), 0.2)
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        x = functional.pixel_shuffle(self.slopes(self.groups(self.conv(x))), 2)
        a, b = x.chunk(2, 1)
        x = torch.cat([b, a], 1) * torch.sigmoid(x.mean((2, 3), keepdim=True))
        return torch.tanh(self.out(functional.pad(x, (1, 1, 1, 1), mode="reflect")))


class OfPictures(nn.Module):
    """A small ResNet with instance normalisation, bilinear resizing and attention."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 7, padding=3, padding_mode="reflect")
        self.norm, self.scaled = nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True)
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.query = nn.Conv2d(8, 4, 1)
        self.down, self.last = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = x + self.two(functional.silu(self.scaled(self.one(x))))
        small = self.down(x)
        keys = self.query(small).flatten(2)
        weights = torch.softmax(keys.transpose(1, 2) @ keys / 2.0, -1)
        small = (small.flatten(2) @ weights).reshape(small.shape)
        x = x + functional.interpolate(small, x.shape[2:], mode="bilinear", align_corners=False)
        return torch.tanh(self.last(x)).clamp(-0.9, 0.9)


NETWORKS = {"latents": (OfLatents, (1, 16)), "pictures": (OfPictures, (1, 3, 16, 16))}


def built(kind):
    torch.manual_seed(0)
    make, shape = NETWORKS[kind]
    network = make()
    with torch.no_grad():
        for _ in range(5):  # statistics of batch normalisations
            network(torch.randn(8, *shape[1:]))
    return network.eval(), shape


def written(folder: Path, network, shape, suffix, batch_is_open):
    path, example = folder / f"generator{suffix}", torch.randn(2 if batch_is_open else 1, *shape[1:])
    if suffix == ".pt2":
        shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) if batch_is_open else None
        torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), path)
    else:
        axes = {"z": {0: "batch"}} if batch_is_open else None
        torch.onnx.export(network, (example,), str(path), dynamo=False, input_names=["z"], dynamic_axes=axes)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch_is_open", [False, True], ids=["static", "open"])
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_a_program_draws_what_its_module_drew_for_any_batch(tmp_path, kind, suffix, batch_is_open):
    network, shape = built(kind)
    read, found = read_program(written(tmp_path, network, shape, suffix, batch_is_open))
    assert found == shape
    x = torch.randn(5, *shape[1:])
    with torch.no_grad():
        assert torch.allclose(read(x), network(x), atol=TOLERANCE)
    layers = {type(one) for one in read.modules()}
    assert {nn.Conv2d} | ({nn.Linear, nn.ConvTranspose2d} if kind == "latents" else set()) <= layers
    assert sum(isinstance(one, nn.Conv2d) for one in read.modules()) == sum(
        isinstance(one, nn.Conv2d) for one in network.modules()
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [pytest.param(".pt2", marks=pytest.mark.slow), ".onnx"])
def test_compress_takes_the_file_alone(tmp_path, suffix):
    network, shape = built("latents")
    path = written(tmp_path, network, shape, suffix, False)
    made = ganpress.compress(str(path), tmp_path / "out", method="w8a8")
    assert made.file.is_file()
    assert min(made.decibels.values()) > 20
    assert (tmp_path / "out" / "compression.json").is_file()
    half = ganpress.Generator.of(str(path))
    assert half.parameters == sum(one.numel() for one in network.parameters()) or suffix == ".onnx"
    assert ganpress.distil(half, 50, images=64).parameters < half.parameters


def graph(*nodes, sizes=(1, 4), output=(1, 4), weights=()):
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in (("x", sizes), ("y", output))
    )
    made = helper.make_graph(list(nodes), "g", [x], [y], list(weights))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = {
        "unknown.onnx": (graph(helper.make_node("Hardmax", ["x"], ["y"], name="last")), "'last' has no counterpart"),
        "open.onnx": (
            graph(helper.make_node("Relu", ["x"], ["y"]), sizes=(1, "n")),
            "leaves the size of its input open",
        ),
        "constant.onnx": (
            graph(
                helper.make_node("Identity", ["w"], ["y"]),
                weights=[helper.make_tensor("w", TensorProto.FLOAT, (1, 4), [0.0] * 4)],
            ),
            "does not depend on its input",
        ),
        "wrong.onnx": (graph(helper.make_node("Concat", ["x"], ["y"])), "Concat"),
        "control.onnx": (graph(helper.make_node("Hard\x15\nmax", ["x"], ["y"])), r"Hard\\x15\\nmax 'y' has no"),
        "silent.onnx": (graph(helper.make_node("Hardmax", ["x"], [])), "Hardmax 'without a result' has no counterpart"),
        "nothing.onnx": (graph(helper.make_node("Relu", ["x"], [])), "no operator computes its result 'y'"),
    }
    for name, (model, _) in cases.items():
        onnx.save(model, name)
    Path("torn.onnx").write_bytes(Path("unknown.onnx").read_bytes()[:40])
    Path("torn.pt2").write_bytes(b"PK\x03\x04 and nothing")
    words = {name: message for name, (_, message) in cases.items()}
    words |= {"torn.onnx": "ONNX", "torn.pt2": "torn.pt2", "absent.onnx": "does not exist"}
    for name, message in words.items():
        with pytest.raises(GanpressError, match=message) as caught:
            read_program(Path(name))
        assert str(caught.value).isprintable(), name


BOMBS = {
    "filled": [helper.make_node("ConstantOfShape", ["n"], ["c"]), helper.make_node("ReduceSum", ["c"], ["s"])],
    "tiled": [helper.make_node("Tile", ["x", "m"], ["c"]), helper.make_node("ReduceSum", ["c"], ["s"])],
    "padded": [helper.make_node("Pad", ["x", "p"], ["c"]), helper.make_node("ReduceSum", ["c"], ["s"])],
}
"""A few bytes that ask for terabytes."""


@pytest.mark.parametrize("kind", sorted(BOMBS))
def test_a_file_that_asks_for_more_than_memory_is_refused_before_it_gets_any(tmp_path, kind):
    huge = 2**40
    numbers = {"n": [huge], "m": [1, huge], "p": [0, 0, 0, huge]}
    weights = [helper.make_tensor(name, TensorProto.INT64, (len(one),), one) for name, one in numbers.items()]
    onnx.save(graph(*BOMBS[kind], helper.make_node("Add", ["x", "s"], ["y"]), weights=weights), tmp_path / "g.onnx")
    with pytest.raises(ConfigError, match="numbers, of which 134,217,728 are allowed|cannot be translated"):
        read_program(tmp_path / "g.onnx")


class Huge(nn.Module):
    def forward(self, z):
        return z + torch.zeros(2**20, 2**20).sum()


@pytest.mark.filterwarnings("ignore")
def test_a_program_that_asks_for_more_than_memory_is_refused(tmp_path):
    torch.export.save(torch.export.export(Huge(), (torch.zeros(1, 4),)), tmp_path / "g.pt2")
    with pytest.raises(ConfigError, match="makes 1,099,511,627,776 numbers"):
        read_program(tmp_path / "g.pt2")


def test_a_translation_that_computes_something_else_is_not_used(tmp_path, monkeypatch):
    onnx.save(graph(helper.make_node("Relu", ["x"], ["y"])), tmp_path / "g.onnx")
    assert read_program(tmp_path / "g.onnx")[1] == (1, 4)
    from ganpress.imported.onnx_operators import OPERATORS

    monkeypatch.setitem(OPERATORS, "Relu", OPERATORS["Tanh"])
    with pytest.raises(ConfigError, match="does not compute what ONNX Runtime does"):
        read_program(tmp_path / "g.onnx")


def test_a_program_that_would_run_code_is_refused_and_projects_ask_for_code(tmp_path, monkeypatch):
    def refuse(path):
        raise CheckpointError(f"{path} holds code")

    monkeypatch.setattr(program_files, "load_exported", refuse)
    (tmp_path / "g.pt2").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="holds code"):
        read_program(tmp_path / "g.pt2")
    with pytest.raises(ConfigError, match="`ganpress compress` and"):
        import_generator(tmp_path, ImportRequest("g.onnx", None, (1, 4)))
