"""Packed model files: as small as stated, and the same generator bit for bit."""

import hashlib
import io
import json
import math
from pathlib import Path

import pytest
import torch
import zstandard
from safetensors import safe_open

from ganpress.compression.packed.codes import pack_codes, unpack_codes
from ganpress.compression.packed.packing import load_packed, packed, save_packed
from ganpress.compression.pruning.magnitude_pruning import prune_
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.errors import CheckpointError, ConfigError
from ganpress.files.checkpoint import save_model
from models.builders import Blueprint

BASE = Blueprint("wdcgan_generator", {"spec": "16", "size": 32, "channels": 1})
FORMER_SHA256 = "5bc4a5329b46f94a7c8f2b1ed5ede91e42d070b8e5ad4852408e2a677411dde6"


def latents(count, seed=0):
    return torch.randn(count, 100, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("shape", [(1,), (3, 5, 1, 1), (7, 11), (0, 2)])
def test_codes_come_back_from_their_bits(bits, shape):
    highest = 2 ** (bits - 1) - 1
    codes = torch.randint(-highest, highest + 1, shape, generator=torch.Generator().manual_seed(bits)).to(torch.int8)
    content = pack_codes(codes, bits)
    assert len(content) == math.ceil(codes.numel() * bits / 8)
    assert torch.equal(unpack_codes(content, bits, shape), codes)


def test_more_levels_than_bits_are_refused():
    with pytest.raises(ConfigError, match="codes of 3 bits have 8 levels in a channel, found -5 … 3"):
        pack_codes(torch.tensor([[-5, 3]], dtype=torch.int8), 3)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_packed_generator_is_the_generator(trained_like, tmp_path, bits):
    model = trained_like("16", 32, 1)
    quantized = quantize(model, latents(16), QuantizationConfig(bits, 8))
    blueprint, path = quantized_blueprint(quantized, BASE), tmp_path / "generator.ganpack"
    save_packed(path, quantized, blueprint)
    loaded, found = load_packed(path)
    assert found == blueprint
    for name, tensor in quantized.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
        assert loaded.state_dict()[name].dtype == tensor.dtype
    assert torch.equal(loaded(latents(3, 1)), quantized(latents(3, 1)))
    weights = sum(layer.weight.numel() for layer in quantized.quantized_layers())
    others = sum(4 * (layer.bias.numel() + layer.weight_scale.numel()) for layer in quantized.quantized_layers())
    assert path.stat().st_size <= weights * bits / 8 + others + 1500
    save_model(tmp_path / "generator.safetensors", quantized, blueprint)
    assert path.stat().st_size < (tmp_path / "generator.safetensors").stat().st_size


def test_entropy_coding_comes_near_the_entropy(trained_like, tmp_path):
    quantized = quantize(trained_like("64", 32, 1), latents(8), QuantizationConfig(5, 8))
    save_packed(tmp_path / "g", quantized, quantized_blueprint(quantized, BASE))
    bound = 0.0
    for layer in quantized.quantized_layers():
        shares = layer.weight.flatten().unique(return_counts=True)[1] / layer.weight.numel()
        bound -= layer.weight.numel() * float((shares * shares.log2()).sum()) / 8
    others = sum(4 * (layer.bias.numel() + layer.weight_scale.numel()) for layer in quantized.quantized_layers())
    assert (tmp_path / "g").stat().st_size < 1.05 * bound + others + 1500


def test_pruned_weights_take_less(trained_like, tmp_path):
    sizes = []
    for sparsity in (0.0, 0.9):
        model = trained_like("16", 32, 1)
        prune_(model, sparsity)
        quantized = quantize(model, latents(8), QuantizationConfig(8, 8))
        save_packed(tmp_path / "g", quantized, quantized_blueprint(quantized, BASE))
        sizes.append((tmp_path / "g").stat().st_size)
    assert sizes[1] < 0.45 * sizes[0]


def test_damaged_files_are_refused(trained_like, tmp_path):
    quantized, path = quantize(trained_like("2", 16, 1), latents(8), QuantizationConfig(4, 8)), tmp_path / "g"
    save_packed(path, quantized, quantized_blueprint(quantized, BASE))
    content = path.read_bytes()
    for damaged in (content[:-40], content[:-60] + b"\x00" + content[-59:], content + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match="cannot be decoded: it is not a complete Zstandard frame, or its checksum"
        ):
            load_packed(path)
    path.write_bytes(b"PK" + content)
    with pytest.raises(CheckpointError, match="is no packed generator"):
        load_packed(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_packed(tmp_path / "none")


@pytest.mark.parametrize("bits", range(2, 9))
def test_lopsided_codes_come_back(bits):
    random = torch.Generator().manual_seed(bits)
    lowest = torch.randint(-128, 129 - 2**bits, (6, 1), generator=random)
    codes = (torch.randint(0, 2**bits, (6, 33), generator=random) + lowest).to(torch.int8)
    content = pack_codes(codes, bits)
    assert len(content) <= 6 + math.ceil(codes.numel() * bits / 8)
    assert torch.equal(unpack_codes(content, bits, codes.shape), codes)


def test_packed_files_of_before_safetensors_are_read():
    """`former.ganpack` was written by that code, with codes of 3 bits, packed and entropy-coded."""
    loaded, blueprint = load_packed(Path(__file__).with_name("former.ganpack"))
    digest = hashlib.sha256()
    for name, tensor in sorted(loaded.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    assert blueprint.builder == "quantized"
    assert digest.hexdigest() == FORMER_SHA256


def test_any_decoder_and_reader_read_a_packed_file(trained_like, tmp_path):
    quantized = quantize(trained_like("16", 32, 1), latents(8), QuantizationConfig(8, 8))
    stored = packed(quantized, quantized_blueprint(quantized, BASE))
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored), read_across_frames=True) as reader:
        (tmp_path / "g.safetensors").write_bytes(reader.read())
    with safe_open(tmp_path / "g.safetensors", "numpy") as file:
        facts = json.loads(file.metadata()["ganpress"])
        assert facts["format"] == "ganpress-packed"
        assert set(file.keys()) == set(quantized.state_dict())


def test_generators_of_floats_are_packed_too(trained_like, tmp_path):
    model = trained_like("2", 16, 1)
    prune_(model, 0.8)
    blueprint = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})
    save_packed(tmp_path / "g", model, blueprint)
    assert torch.equal(load_packed(tmp_path / "g")[0](latents(2)), model(latents(2)))
    assert (tmp_path / "g").stat().st_size < 4 * sum(parameter.numel() for parameter in model.parameters())
