"""Generators as C: the integers of the simulation bit for bit, compiled here and run on a Cortex-M3 in QEMU."""

import hashlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.cortex_m import INSTALL, missing_programs, run_on_device
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.c_code.arena_plan import plan_arena
from ganpress.edge.c_code.c_convolutions import pack_rows, stored_bits
from ganpress.edge.c_code.c_program import UNITS, UNITS_DIGEST, Buffer, Step
from ganpress.edge.c_code.c_runner import CGenerator, read_texts
from ganpress.edge.file_writing import pack_files
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Lineage, read_card
from ganpress.edge.proven_export import ExportSettings, proven_export
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError, ConfigError
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas
from models.quantized_layers import QuantizedConv

TARGET = TARGETS["c"]
LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="wdcgan_generator")
WARNINGS = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
pytestmark = pytest.mark.needs_target("c")


def latents(images, seed=0):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(seed))


def pictures(images, size=16, seed=0):
    return 2 * torch.rand((images, 3, size, size), generator=torch.Generator().manual_seed(seed)) - 1


def trained(model, inputs):
    """The same with statistics of its inputs, and weights that keep the size of what they read."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.train().parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=random) * parameter[0].numel() ** -0.5)
        for _ in range(5):
            model(inputs)
    return model.eval()


def written(model, folder, example):
    TARGET.write(model, folder / "generator.c", example)
    return CGenerator(folder / "generator.c")


@torch.no_grad()
def assert_equal_to_the_bit(generator, model, inputs):
    torch.testing.assert_close(generator(inputs), model(inputs), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("weights", "activations", "channels"), [(8, 8, 1), (8, 8, 3), (4, 8, 1), (3, 6, 1), (2, 4, 1), (7, 2, 1)]
)
def test_latents_are_drawn_as_the_simulation_draws_them(trained_like, tmp_path, weights, activations, channels):
    quantized = quantize(trained_like("4", 16, channels), latents(64), QuantizationConfig(weights, activations))
    generator = written(quantized, tmp_path, latents(2))
    assert_equal_to_the_bit(generator, quantized, latents(200, seed=3))
    assert (generator.texts.sizes["INPUT_IS_CODES"], generator.texts.sizes["OUTPUT_IS_CODES"]) == (1, 1)
    profile = TARGET.kernels(generator.path, latents(1))
    assert profile.integer_layers == profile.layers == 3


@pytest.mark.parametrize("options", [{"channel_inputs": True}, {"split_share": 0.2}, {"asymmetric_weights": True}])
def test_every_kind_of_codes_is_kept(trained_like, tmp_path, options):
    quantized = quantize(trained_like("4", 16, 1), latents(64), QuantizationConfig(8, 8, **options))
    assert_equal_to_the_bit(written(quantized, tmp_path, latents(2)), quantized, latents(100, seed=3))


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Joined(nn.Module):
    """Two branches of other sizes side by side, cropped."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, 2, 1)
        self.head = nn.Conv2d(8, 3, 3)

    def forward(self, x):
        other = nn.functional.interpolate(torch.relu(self.other(x)), scale_factor=2)
        return torch.tanh(self.head(torch.cat([torch.relu(self.one(x)), other], 1)))[:, :, 1:-1, 2:]


def conditional(name):
    if name == "joined":
        return Joined()
    if name in ("edge_resnet_9blocks", "edge_mobile_resnet_9blocks"):
        return generator_blueprint(f"{name}:ngf=4", Canvas(3, 16, 16, reads=3)).build()
    block = nn.Sequential(nn.ReplicationPad2d(1), nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(
        nn.ReflectionPad2d(2), nn.Conv2d(3, 8, 5), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), Residual(block),
        nn.Upsample(scale_factor=2), nn.Conv2d(8, 12, 3, padding=2, dilation=2), nn.PixelShuffle(2), nn.ReLU(),
        nn.ZeroPad2d(1), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), nn.Tanh(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["edge_resnet_9blocks", "edge_mobile_resnet_9blocks", "joined", "mixed"])
def test_pictures_are_drawn_as_the_simulation_draws_them(tmp_path, name):
    sources = pictures(4)
    quantized = quantize(trained(conditional(name), sources), sources, QuantizationConfig(8, 8))
    generator = written(quantized, tmp_path, sources[:2])
    assert_equal_to_the_bit(generator, quantized, pictures(3, seed=1))
    profile = TARGET.kernels(generator.path, sources[:1])
    assert profile.integer_layers == profile.layers > 2


def test_instance_norms_are_floats_between_integer_layers(tmp_path):
    """Their sums come in another order than torch's: near, not equal."""
    sources, norm = pictures(4), nn.InstanceNorm2d(4, affine=True)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.Tanh())
    quantized = quantize(trained(model, sources), sources, QuantizationConfig(8, 8))
    generator = written(quantized, tmp_path, sources[:2])
    with torch.no_grad():
        away = (generator(sources) - quantized(sources)).abs()
    assert away.mean() < quantized.output_step / 100
    assert re.search(r"normalise_maps x?\d*", TARGET.kernels(generator.path, sources[:1]).describe())


def test_layer_rounds_as_float32_does_where_sums_lie_between_two_codes(tmp_path):
    """Powers of two put every other sum in the middle; small multipliers leave it to the last bit of a float."""
    for multiplier in (0.5, 0.25, 1 / 3, 3e-4, 1.1e-5, 4.0):
        quantized = quantize(nn.Conv2d(100, 3, 1), pictures(1).new_ones(1, 100, 4, 4), QuantizationConfig(8, 8))
        (layer,) = [one for one in quantized.modules() if isinstance(one, QuantizedConv)]
        random = torch.Generator().manual_seed(0)
        layer.weight.copy_(torch.randint(-128, 128, layer.weight.shape, generator=random, dtype=torch.int16))
        layer.source.scale.fill_(1.0)
        layer.source.zero_point.fill_(128)
        layer.target.scale.fill_(1.0)
        layer.target.zero_point.fill_(128)
        layer.weight_scale.fill_(multiplier)
        layer.bias.zero_()
        reach = 10 if multiplier > 0.1 else 128
        weights = layer.weight if multiplier < 0.1 else layer.weight.copy_(layer.weight.clamp(-3, 3))
        assert weights.abs().max() > 2
        inputs = torch.randint(-reach, reach, (20, 100, 4, 4), generator=random).float()
        assert_equal_to_the_bit(written(quantized, tmp_path, inputs[:2]), quantized, inputs)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_narrow_weights_take_fewer_bytes(bits):
    random = np.random.default_rng(0)
    rows = random.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (5, 13)).astype(np.int8)
    packed = pack_rows(rows, bits)
    assert stored_bits(rows) == bits
    assert packed.shape == (5, -(-13 * bits // 8))
    parts = (packed[:, :, None] >> (bits * np.arange(8 // bits))) & (2**bits - 1)
    unsigned = parts.reshape(5, -1)[:, :13].astype(np.int64)
    assert (np.where(unsigned >= 2 ** (bits - 1), unsigned - 2**bits, unsigned) == rows).all()


@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (2, 4)])
def test_source_compiles_without_a_warning_and_needs_no_library(trained_like, tmp_path, weights, activations):
    quantized = quantize(trained_like("2", 16, 1), latents(32), QuantizationConfig(weights, activations))
    TARGET.write(quantized, tmp_path / "generator.c", latents(2))
    subprocess.run(["cc", *WARNINGS, "-c", "generator.c", "-o", "generator.o"], cwd=tmp_path, check=True)
    included = re.findall(r"#include .(\S+).$", (tmp_path / "generator.c").read_text(), re.MULTILINE)
    assert included == ["generator.h", "stddef.h", "string.h"]
    assert not re.search(r"malloc|double|math\.h", (tmp_path / "generator.c").read_text())


def test_float_sources_compile_without_a_warning(tmp_path):
    TARGET.write(trained(conditional("mixed"), pictures(2)), tmp_path / "generator.c", pictures(2))
    subprocess.run(["cc", *WARNINGS, "-c", "generator.c", "-o", "generator.o"], cwd=tmp_path, check=True)


def test_files_are_the_same_each_time_and_packed_ones_draw_the_same(trained_like, tmp_path):
    quantized = quantize(trained_like("2", 16, 1), latents(32), QuantizationConfig(8, 8))
    files = TARGET.write(quantized, tmp_path / "generator.c", latents(2))
    contents = [one.read_bytes() for one in files]
    plain = TARGET.open(files[0])(latents(3))
    assert [one.read_bytes() for one in TARGET.write(quantized, files[0], latents(2))] == contents
    packed = pack_files(files)
    assert [one.name for one in packed] == ["generator.c.zst", "generator.h.zst"]
    torch.testing.assert_close(TARGET.open(packed[0])(latents(3)), plain, rtol=0, atol=0)


def test_what_is_not_written_is_said_in_a_line_with_its_layer(tmp_path):
    model = nn.Sequential()
    model.add_module("body", nn.Conv2d(3, 3, 3, padding=1))
    model.add_module("head", nn.MaxPool2d(2))
    with pytest.raises(UnsupportedGenerator, match=r"cannot be written as C: the function max_pool2d in layer 'head'$"):
        TARGET.write(model, tmp_path / "generator.c", pictures(2))
    quantized = quantize(nn.Sequential(nn.Conv2d(3, 3, 3)), pictures(2), QuantizationConfig(8, None))
    with pytest.raises(ConfigError, match="the target 'c' writes float generators; name the float generator, or use"):
        TARGET.write(quantized, tmp_path / "generator.c", pictures(2))
    assert not list(tmp_path.iterdir())


def test_damaged_sources_are_refused_in_a_line(trained_like, tmp_path):
    path, header = TARGET.write(trained_like("1", 8, 1), tmp_path / "generator.c", latents(2))
    contents = path.read_bytes(), header.read_bytes()
    for file, content, message in (
        (path, contents[0][:-200], r"generator\.c cannot be compiled by cc: .*error.*; export it again"),
        (path, b"int x;", r"generator\.c is no generator: it has no function generator_run; export it again"),
        (path, b"\xff", r"generator\.c is not C source text; export it again"),
        (header, contents[1][:100], r"generator\.h does not define the sizes of a generator; export it again"),
    ):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as refused:
            TARGET.open(path)(latents(1))
        assert "\n" not in str(refused.value)
        path.write_bytes(contents[0])
        header.write_bytes(contents[1])
    header.unlink()
    with pytest.raises(CheckpointError, match=r"generator\.h does not exist"):
        TARGET.open(path)


def test_inputs_of_another_shape_are_refused(trained_like, tmp_path):
    generator = written(trained_like("1", 8, 1), tmp_path, latents(2))
    with pytest.raises(ConfigError, match=r"generator\.c takes \(N, 100\) with N >= 1, found \(2, 99\)"):
        generator(torch.zeros(2, 99))


def test_buffers_that_are_needed_together_do_not_overlap():
    random = np.random.default_rng(0)
    for _ in range(50):
        buffers = [Buffer(int(random.integers(1, 100)), int(random.choice([1, 4]))) for _ in range(12)]
        steps = [
            Step("f", (), tuple(buffers[one] for one in {number, int(random.integers(0, number + 1))}),
                 buffers[number + 1], Buffer(5, 1), in_place=bool(random.integers(2)))
            for number in range(11)
        ]  # fmt: skip
        arena = plan_arena(steps)
        written_at: dict[int, Buffer] = {}
        for step in steps:
            for read in step.reads:  # nothing has been written over what is read
                kept = [written_at.get(place, read) for place in range(read.offset, read.offset + read.bytes)]
                assert all(one is read for one in kept)
            for one in (step.scratch, step.writes):
                assert one.offset % 8 == 0
                assert one.offset + one.bytes <= arena
                written_at |= dict.fromkeys(range(one.offset, one.offset + one.bytes), one)
            apart = {step.writes.offset + place for place in range(step.writes.bytes)}
            assert apart.isdisjoint(step.scratch.offset + place for place in range(step.scratch.bytes))


def test_a_chain_takes_no_more_than_two_neighbours_and_a_patch(trained_like, tmp_path):
    quantized = quantize(trained_like("2", 32, 1), latents(32), QuantizationConfig(8, 8))
    generator = written(quantized, tmp_path, latents(2))
    first, second, third = 8 * 4 * 4, 4 * 8 * 8, 2 * 16 * 16  # between the four layers; the last draws into the output
    assert first < second + third <= generator.texts.sizes["ARENA_BYTES"] <= second + third + 5 * 32 + 32


@pytest.mark.skipif(bool(missing_programs()), reason=f"no compiler or machine for a Cortex-M: {INSTALL}")
@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (4, 8)])
def test_a_microcontroller_draws_what_the_simulation_draws(trained_like, tmp_path, weights, activations):
    quantized = quantize(trained_like("2", 32, 1), latents(64), QuantizationConfig(weights, activations))
    generator = written(quantized, tmp_path, latents(2))
    z = latents(3, seed=3)
    (tmp_path / "device").mkdir()
    run = run_on_device(read_texts(generator.path), generator.input_codes(z), tmp_path / "device")
    assert (run.outputs == generator.output_codes(z).reshape(3, -1)).all()
    assert_equal_to_the_bit(generator, quantized, z)
    assert run.flash_bytes <= 24_000
    assert run.ram_bytes + run.stack_bytes <= 16_000
    assert all(0 < one < 1_000_000 for one in run.instructions)


@pytest.mark.slow  # starts a process that imports torch
def test_the_card_says_the_integers_and_the_arena(trained_like, tmp_path):
    quantized = quantize(trained_like("2", 16, 1), latents(64), QuantizationConfig(8, 8))
    settings = ExportSettings(packed=True, latency_rounds=6)
    facts, proof = proven_export(TARGET, quantized, tmp_path / "generator.c", latents(20, seed=3), settings)
    card = write_card(facts.files[0], quantized, latents(1), proof, LINEAGE, facts=facts)
    assert read_card(facts.files[0]) == card
    assert (card.file, card.format, card.number_type) == ("generator.c.zst", "c", "w8a8")
    assert (proof.max_abs_error, proof.snr_db) == (0, None)
    assert (card.kernels.layers, card.kernels.integer_layers) == (3, 3)
    assert card.speed.arena_bytes == read_texts(facts.files[0]).sizes["ARENA_BYTES"] > 128


def test_the_digest_is_that_of_the_functions():
    content = b"".join(one.read_bytes() for one in sorted(UNITS.glob("*.c")))
    assert hashlib.sha256(content).hexdigest().startswith(UNITS_DIGEST)


def test_the_compiler_is_the_version():
    assert shutil.which("cc")
    assert re.search(r"\d+\.\d+", TARGET.version())
