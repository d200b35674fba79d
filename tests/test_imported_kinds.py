"""Kinds of networks that an import must take as they are written, or refuse in one line."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.data.sources.plain_pictures import PictureStyle, plain_members
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import ConfigError
from ganpress.imported.import_card import load_imported
from ganpress.imported.importing import ImportRequest, bring_in, import_generator
from ganpress.metrics.fidelity import compare_outputs
from models.builders import with_spec
from models.elastic import Spec

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F
"""
WRITTEN_SIZES = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.up = nn.Linear(8, 16 * 16), nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.out = nn.Conv2d(8, 1, 3, 1, 1)

    def forward(self, z):
        maps = F.relu(self.first(z)).view(-1, 16, 4, 4)
        b, c, h, w = map(int, maps.shape)
        return torch.tanh(self.out(F.relu(self.up(maps)).reshape(b, 8, 64).reshape(b, 8, 2 * h, 2 * w)))


def build():
    torch.manual_seed(0)
    return Net()
"""
)
NOISY_LATENTS = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.strength = nn.Linear(8, 16 * 16), nn.Parameter(torch.full((1, 16, 1, 1), 0.5))
        self.up = nn.ConvTranspose2d(16, 1, 4, 2, 1)

    def forward(self, z):
        maps = self.first(z).view(z.shape[0], -1, 4, 4)
        maps = maps + self.strength * torch.randn(z.shape[0], 1, 4, 4)
        image = self.up(F.relu(maps))
        return torch.tanh(image + 0.1 * torch.randn(z.shape[0], 1, 8, 8))


def build():
    torch.manual_seed(0)
    return Net()
"""
)


MODULATED = (
    HEAD
    + """
class Modulated(nn.Module):
    def __init__(self, i, o, up=False):
        super().__init__()
        self.weight, self.style, self.up = nn.Parameter(torch.randn(1, o, i, 3, 3)), nn.Linear(8, i), up

    def forward(self, x, w):
        n, i, h, width = x.shape
        kernel = self.weight * (self.style(w) + 1).view(n, 1, i, 1, 1) / 10
        kernel = kernel * torch.rsqrt(kernel.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        o, packed = kernel.shape[1], x.reshape(1, n * i, h, width)
        if self.up:
            kernel = kernel.transpose(1, 2).reshape(n * i, o, 3, 3)
            made = F.conv_transpose2d(packed, kernel, stride=2, padding=1, output_padding=1, groups=n)
            return made.view(n, o, 2 * h, 2 * width)
        return F.conv2d(packed, kernel.view(n * o, i, 3, 3), padding=1, groups=n).view(n, o, h, width)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, 8, 4, 4))
        self.one, self.two = Modulated(8, 12), Modulated(12, 6, up=True)
        self.out = nn.Conv2d(6, 3, 1)

    def forward(self, w):
        x = F.leaky_relu(self.one(self.start.repeat(w.shape[0], 1, 1, 1), w), 0.2)
        return torch.tanh(self.out(F.leaky_relu(self.two(x, w), 0.2)))


def build():
    torch.manual_seed(0)
    return Net()
"""
)


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))


@torch.no_grad()
def test_sizes_that_are_written_into_the_code_are_fitted_to_fewer_channels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "written.py").write_text(WRITTEN_SIZES)
    card = import_generator(tmp_path, ImportRequest("written.py:build", None, (1, 8)))
    assert {group.name: group.units for group in card.groups} == {"first": 16, "up": 8}
    whole, blueprint = load_imported(tmp_path, card.name)
    narrow = with_spec(blueprint, Spec((50, 50))).build().eval()
    assert sum(one.numel() for one in narrow.parameters()) < 0.52 * sum(one.numel() for one in whole.parameters())
    z = torch.randn(6, 8)
    together, alone = narrow(z), torch.cat([narrow(one[None]) for one in z])
    assert together.shape == (6, 1, 8, 8)
    assert torch.allclose(together, alone, atol=1e-6)
    export_onnx(narrow, tmp_path / "g.onnx", z[:2])
    for count in (1, 2, 3):
        assert compare_outputs(narrow, OnnxGenerator(tmp_path / "g.onnx", 1), z[:count]).max_abs_error < 1e-5


@torch.no_grad()
def test_random_maps_of_a_generator_of_latents_become_further_latents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noisy.py").write_text(NOISY_LATENTS)
    made = bring_in(ImportRequest("noisy.py:build", None, (1, 8), noise="input"))
    assert made.example.shape == (1, 8 + 16 + 64)
    x = torch.randn(3, 88)
    images = made.generator(x)
    assert images.shape == (3, 1, 8, 8)
    changed = x.clone()
    changed[:, -1] += 1  # of the last map's last pixel
    difference = (made.generator(changed) - images).abs()
    assert float(difference[:, :, -1, -1].min()) > 0
    assert float(difference[:, :, 0, 0].max()) == 0


@torch.no_grad()
def test_modulated_convolutions_are_computed_exported_and_rounded_for_any_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "modulated.py").write_text(MODULATED)
    card = import_generator(tmp_path, ImportRequest("modulated.py:build", None, (1, 8)))
    generator, _ = load_imported(tmp_path, card.name)
    z = torch.randn(20, 8)
    assert torch.allclose(generator(z), generator.network(z), atol=1e-5)
    export_onnx(generator, tmp_path / "float.onnx", z[:2])
    quantized = quantize(generator, z[:16], QuantizationConfig(8, 8))
    assert compare_outputs(generator, quantized, z[16:]).snr_db > 20
    export_onnx(quantized, tmp_path / "int8.onnx", z[:2])
    for count in (1, 3):
        assert compare_outputs(generator, OnnxGenerator(tmp_path / "float.onnx", 1), z[:count]).max_abs_error < 1e-4
        found = compare_outputs(quantized, OnnxGenerator(tmp_path / "int8.onnx", 1), z[:count])
        assert found.snr_db is None or found.snr_db > 60


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(1, 3, 8, 8))])
def test_a_program_of_torchscript_is_refused_with_the_way_in(make):
    with pytest.raises(ConfigError, match=r"program of TorchScript, .* return the module .* --weights") as caught:
        bring_in(ImportRequest("mine", None, (1, 3, 8, 8)), make(small()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_a_wrapped_module_is_taken_for_what_it_wraps(wrap):
    made = bring_in(ImportRequest("mine", None, (1, 3, 8, 8)), wrap(small()))
    assert [group.units for group in made.found.groups] == [8]


class Tokens(nn.Module):
    """A layer of torch's transformer, which has a faster path that reads weights and runs none of its layers."""

    def __init__(self):
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 16, 4, 4), nn.ConvTranspose2d(16, 3, 4, 4)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu", norm_first=True)

    def forward(self, x):
        patches = self.patch(x)
        tokens = self.encoder(patches.flatten(2).transpose(1, 2))
        return self.head(tokens.transpose(1, 2).reshape(patches.shape))


def test_a_transformer_is_quantized_layer_by_layer():
    torch.manual_seed(0)
    made = bring_in(ImportRequest("mine", None, (1, 3, 16, 16)), Tokens()).generator
    x = torch.rand(16, 3, 16, 16) * 2 - 1
    quantized = quantize(made, x, QuantizationConfig(8, 8))
    assert compare_outputs(made, quantized, x).snr_db > 25
    assert {name.rpartition(".")[2] for name in quantized.layers} >= {"patch", "linear1", "linear2", "head"}


class Wave(nn.Module):
    """Draws a signal from latents, and gives nothing as its first result."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 64), nn.Conv1d(8, 1, 9, padding=4)

    def forward(self, z):
        maps = torch.relu(self.first(z)).view(-1, 8, 8)
        return {"loss": None, "sample": torch.tanh(self.last(functional.interpolate(maps, scale_factor=4)))}


def test_signals_are_drawn_from_latents(tmp_path):
    torch.manual_seed(0)
    made = bring_in(ImportRequest("mine", None, (1, 8)), Wave()).generator
    z = torch.randn(20, 8)
    assert made(z).shape == (20, 1, 1, 32)
    assert compare_outputs(made, quantize(made, z[:16], QuantizationConfig(8, 8)), z[16:]).snr_db > 25
    export_onnx(made, tmp_path / "wave.onnx", z[:2])
    assert compare_outputs(made, OnnxGenerator(tmp_path / "wave.onnx", 1), z[:3]).max_abs_error < 1e-5


class Sensitive(nn.Module):
    """Its rounding errors in float32 depend on the batch, as those of networks whose values explode."""

    def __init__(self, mixes):
        super().__init__()
        self.layer, self.mixes = nn.Conv2d(3, 3, 3, padding=1), mixes

    def forward(self, x):
        shared = x.mean() * 1e-3 if self.mixes else 1e-5 * x.shape[0] * (x.dtype == torch.float32)
        return torch.sin(self.layer(x) + 100 * shared)


def test_rounding_errors_that_grow_are_no_dependence_on_the_batch():
    assert bring_in(ImportRequest("mine", None, (1, 3, 8, 8)), Sensitive(False)).generator
    with pytest.raises(ConfigError, match="draws other images from a batch"):
        bring_in(ImportRequest("mine", None, (1, 3, 8, 8)), Sensitive(True))


class FixedBatch(nn.Module):
    """Falls back to torch's exporter for its embedding, which takes len() for a constant."""

    def __init__(self):
        super().__init__()
        self.table, self.first = nn.Embedding(4, 4), nn.Linear(4, 16)

    def forward(self, z):
        return self.first(self.table((z[:, 0] > 0).long())).view(len(z), 1, 4, 4)


def test_code_that_fixes_the_batch_is_named_before_the_file_is_used(tmp_path):
    with pytest.raises(ConfigError, match=r"fixes the batch size, as len\(x\) does; read it as x.shape\[0\]"):
        export_onnx(FixedBatch().eval(), tmp_path / "g.onnx", torch.zeros(2, 4))


def test_animations_are_counted_and_said(tmp_path):
    random = np.random.default_rng(0)
    frames = [Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.gif")
    members = [(name, name) for name in ("a.gif", "b.gif")]
    _, notes = plain_members(members, lambda name: (tmp_path / name).read_bytes(), PictureStyle(), "here")
    assert "1 file holds several pictures each, as animations do: the first one is taken" in notes
