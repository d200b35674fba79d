"""Core ML's packages: what is computed here is the written file, and what cannot be computed is refused."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.edge.proof import check_on_macos
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.device_check import check_path
from ganpress.edge.proof.edge_card import Lineage
from ganpress.edge.proof.verification import verify_export
from ganpress.edge.proven_export import ExportSettings, proven_export
from ganpress.edge.targets.coreml_runtime import MODEL, WEIGHTS
from ganpress.edge.targets.mil_program import BadProgram, read_program
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError, ConfigError, ExportMismatch
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS
from tests.edge.small_resnet import pictures, small_resnet

TARGET = TARGETS["coreml"]
pytestmark = pytest.mark.needs_target("coreml")
LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="resnet_generator")


@pytest.fixture(scope="module")
def resnet():
    return small_resnet()


def write(model, folder, number_type="float32", example=None):
    path = folder / number_type / "generator.mlpackage.zip"
    (written,) = TARGET.write(model, path, pictures(2) if example is None else example, number_type)
    return written


@pytest.mark.slow  # what rounds weights takes half a minute to import
def test_each_number_type_is_smaller_and_near(resnet, tmp_path):
    found = {}
    for name in TARGET.number_types:
        path = write(resnet, tmp_path, name)
        with zipfile.ZipFile(path) as archive:
            weights = archive.getinfo("generator.mlpackage/Data/com.apple.CoreML/weights/weight.bin").file_size
        found[name] = weights, compare_outputs(resnet, TARGET.open(path), pictures(6, seed=1)).snr_db
    sizes, snr = ({name: one[place] for name, one in found.items()} for place in (0, 1))
    assert snr["float32"] > 100
    assert snr["float16"] > 50
    assert snr["int8_weights"] > 30
    assert snr["palette6"] > 20
    assert sizes["float16"] < 0.55 * sizes["float32"]
    assert sizes["int8_weights"] < 0.6 * sizes["float16"]
    assert sizes["palette6"] < 0.85 * sizes["int8_weights"]


@pytest.mark.slow  # coremltools is started twice
def test_the_same_generator_gives_the_same_bytes(trained_like, tmp_path):
    """coremltools notes the day, and draws random numbers."""
    z = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    first, second = (write(trained_like("2", 16, 1), tmp_path / name, "float16", z) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_the_archive_holds_a_whole_package(resnet, tmp_path):
    with zipfile.ZipFile(write(resnet, tmp_path)) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("generator.mlpackage/Manifest.json"))
    parts = manifest["itemInfoEntries"]
    assert parts[manifest["rootModelIdentifier"]]["path"] == "com.apple.CoreML/model.mlmodel"
    for one in parts.values():
        assert any(name.startswith(f"generator.mlpackage/Data/{one['path']}") for name in names)


def rewritten(path, change):
    """The archive with its weights changed; as an honest archive, whose checksums fit."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as other:
        for name in archive.namelist():
            content = archive.read(name)
            other.writestr(name, change(content) if name.endswith("weight.bin") else content)
    path.write_bytes(buffer.getvalue())


def test_the_weights_in_the_file_are_what_is_proven(resnet, tmp_path):
    path = write(resnet, tmp_path)
    verify_export(resnet, path, pictures(4), 1e-3, target=TARGET)
    rewritten(path, lambda content: content[:-512] + bytes(512))
    with pytest.raises(ExportMismatch):
        verify_export(resnet, path, pictures(4), 1e-3, target=TARGET)
    rewritten(path, lambda content: content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"cannot be loaded: its weights (end before|are not where) its program"):
        TARGET.open(path)


def test_halves_that_overflow_are_refused(tmp_path):
    """Core ML computes in halves, whose largest number is 65,504; a float runtime would not see it."""
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    for layer, factor in zip(model, (3e5, 1e-5), strict=True):
        nn.init.constant_(layer.weight, factor)
        nn.init.zeros_(layer.bias)
    inputs = pictures(4)
    verify_export(model.eval(), write(model, tmp_path), inputs, 1e-2, target=TARGET)
    with pytest.raises(ExportMismatch, match="it puts out NaN or infinite pixels"):
        verify_export(model, write(model, tmp_path, "float16"), inputs, 1e-2, enough_snr_db=15, target=TARGET)


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Sums(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 2)


@pytest.mark.slow  # torch's tracer takes seconds
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Bessel(), r"^Core ML cannot run Sequential: the operator special_bessel_j0 of layer 'head'$"),
        (Sums(), r"^ganpress cannot verify Sequential for Core ML.*: the operator cumsum of layer 'head' has no"),
    ],
)
def test_operator_that_is_not_converted_or_not_proven_is_named_with_its_layer(tmp_path, layer, words):
    model = nn.Sequential()
    model.add_module("body", nn.Conv2d(3, 3, 1))
    model.add_module("head", layer)
    with pytest.raises(UnsupportedGenerator, match=words):
        TARGET.write(model, tmp_path / "x.mlpackage.zip", pictures(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file_is_refused(trained_like, tmp_path, share):
    path = write(trained_like("2", 16, 1), tmp_path, example=torch.zeros(2, 100))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"generator\.mlpackage\.zip cannot be loaded: it is not a complete ZIP"):
        TARGET.open(path)


def test_a_constant_without_a_value_is_refused(trained_like, tmp_path):
    """A finding of the fuzzer."""
    path = write(trained_like("2", 16, 1), tmp_path, example=torch.zeros(2, 100))
    model, weights = (zipfile.ZipFile(path).read(f"generator.mlpackage/{name}") for name in (MODEL, WEIGHTS))
    with pytest.raises(BadProgram, match=r"it is not an ML Program with one input and one output \(KeyError\)"):
        read_program(model.replace(b"\x03val", b"\x03vax"), weights)


def sized(layer):
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), layer)


class Resized(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.how = how

    def forward(self, x):
        return functional.interpolate(x, **self.how)


class Moves(nn.Module):
    def forward(self, x):
        first, second = x.chunk(2, 1)
        x = torch.cat([second, first[:, :, 1:-1, ::2].repeat(1, 1, 1, 2)], 2)
        return x.transpose(2, 3).contiguous().flatten(2).unflatten(2, (8, -1)).flip(2)


class Sums2(nn.Module):
    def forward(self, x):
        mean, scale = x.mean((2, 3), keepdim=True), x.square().mean(1, keepdim=True)
        return (x - mean) * torch.rsqrt(scale + 1e-8) / x.abs().amax((2, 3), keepdim=True).clamp(0.1, 9)


class Attention(nn.Module):
    def forward(self, x):
        flat = x.flatten(2)
        return (flat @ torch.softmax(flat.transpose(1, 2) @ flat, -1)).view(x.shape)


LAYERS = {
    "uneven zero borders": nn.ZeroPad2d((1, 2, 0, 3)),
    "repeated borders": nn.ReplicationPad2d((2, 1, 1, 2)),
    "mirrored borders": nn.ReflectionPad2d((2, 1, 0, 3)),
    "dilated, grouped, strided": nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2),
    "transposed with output padding": nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
    "pixel shuffle": nn.PixelShuffle(2),
    "nearest twice": Resized(scale_factor=2),
    "nearest, smaller": Resized(size=(5, 7)),
    "bilinear": Resized(scale_factor=2, mode="bilinear"),
    "bilinear, aligned": Resized(size=(21, 9), mode="bilinear", align_corners=True),
    "average pooling": nn.AvgPool2d(3, 2, 1),
    "largest": nn.MaxPool2d(2),
    "batch norm": nn.BatchNorm2d(4),
    "instance norm with parameters": nn.InstanceNorm2d(4, affine=True),
    "group norm": nn.GroupNorm(2, 4),
    "layer norm": nn.LayerNorm(16),
    "prelu": nn.PReLU(4),
    "leaky relu": nn.LeakyReLU(0.2),
    "elu, softplus": nn.Sequential(nn.ELU(), nn.Softplus()),
    "silu, gelu": nn.Sequential(nn.SiLU(), nn.GELU(), nn.GELU(approximate="tanh")),
    "bounds": nn.Sequential(nn.ReLU6(), nn.Hardtanh(0.1, 0.7), nn.Hardsigmoid(), nn.Sigmoid()),
    "linear": nn.Linear(16, 5),
    "moves": Moves(),
    "sums": Sums2(),
    "attention": Attention(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_each_operator_computes_what_torch_computes(tmp_path, name):
    torch.manual_seed(0)
    model = sized(LAYERS[name]).eval()
    path = write(model, tmp_path)
    difference = compare_outputs(model, TARGET.open(path), pictures(3, seed=2))
    assert difference.snr_db is None or difference.snr_db > 90


def test_pictures_of_any_size(resnet, tmp_path):
    settings = ExportSettings(any_size=True)
    facts, _ = proven_export(TARGET, resnet, tmp_path / "generator.mlpackage.zip", pictures(4), settings)
    runner = TARGET.open(facts.files[0])
    assert runner.input_shape == (3, 0, 0)
    for size in (16, 24, 40):
        assert compare_outputs(resnet, runner, pictures(2, size)).snr_db > 90
    with pytest.raises(ConfigError, match=r"takes source \(N, 3, any, any\) with N >= 1, found \(2, 1, 16, 16\)"):
        runner(pictures(2, channels=1))


class OneSize(nn.Module):
    def forward(self, x):
        return x if x.shape[-1] == 16 else -x


def test_a_graph_that_depends_on_the_size_is_refused(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 3, 1), OneSize()).eval()
    with pytest.raises(ExportMismatch, match="its sign is flipped"):
        proven_export(TARGET, model, tmp_path / "generator.mlpackage.zip", pictures(4), ExportSettings(any_size=True))


def test_the_card_says_that_it_was_not_run_here_and_claims_no_time(resnet, tmp_path):
    path = tmp_path / "generator.mlpackage.zip"
    facts, proof = proven_export(TARGET, resnet, path, pictures(8), ExportSettings("float16", latency_rounds=5))
    card = write_card(path, resnet, pictures(1), proof, LINEAGE, facts=facts)
    assert (card.speed, card.form_ms) == (None, {})
    assert card.stand_in == "ganpress's own operators of MIL on the CPU"
    assert card.runtime.startswith("coremltools ")
    assert (card.kernels.layers, card.kernels.integer_layers) == (5, 0)


def test_the_script_for_a_mac_compares_with_the_stored_images(resnet, tmp_path, capsys):
    path = tmp_path / "generator.mlpackage.zip"
    proven_export(TARGET, resnet, path, pictures(8), ExportSettings("float16"))
    check = np.load(check_path(path))
    assert check["inputs"].shape == (4, 3, 16, 16)
    runner = TARGET.open(path)
    rows = check_on_macos.compared(lambda one: runner(torch.from_numpy(one)).numpy(), check)
    assert min(db for db, _ in rows) > 50
    rows = check_on_macos.compared(lambda one: -one, check)
    assert max(db for db, _ in rows) < float(check["enough_snr_db"])
    assert check_on_macos.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == "Core ML runs on macOS alone; copy this file and the folder to a Mac\n"
    assert check_on_macos.main([str(tmp_path / "gone")]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'gone'} holds no generator.mlpackage.zip and no generator.")
