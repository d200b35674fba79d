"""The card beside an edge file."""

import hashlib
import json

import pytest
import torch

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Lineage, read_card
from ganpress.edge.proof.verification import verify_export
from ganpress.errors import CheckpointError
from models.wdcgan import wdcgan_generator

LINEAGE = Lineage(source="student/d4", source_md5="0" * 32, builder="wdcgan_generator")


@pytest.fixture
def exported(trained_like, tmp_path):
    """An int8 edge file with its card; the path and the quantized generator."""
    z = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    trained = trained_like("4", 16, 3)
    model = quantize(trained, z, QuantizationConfig(8, 8), seed=5)
    path = tmp_path / "generator.onnx"
    export_onnx(model, path, z)
    proof = verify_export(model, path, z, tolerance=0.02)
    write_card(path, model, z[:1], proof, LINEAGE, trained=trained)
    return path, model


def test_card_reads_back_as_written(exported):
    path, model = exported
    card = read_card(path)
    assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.md5 == hashlib.md5(path.read_bytes()).hexdigest()
    assert card.size_bytes == path.stat().st_size
    assert card.inputs[0].shape == ("batch", 100)
    assert card.outputs[0].shape == ("batch", 3, 16, 16)
    assert card.number_type == "w8a8"
    assert card.quantization.calibration == model.calibration
    assert card.verification.max_abs_error <= card.verification.tolerance == 0.02
    assert card.verified_against == "torch integer simulation"
    assert card.lineage == LINEAGE


def test_costs_are_those_of_the_trained_architecture(exported):
    cost = read_card(exported[0]).cost
    assert cost.parameters == sum(p.numel() for p in wdcgan_generator("4", 16, 3).parameters())
    assert cost.macs_exact < cost.macs_deployed < 1.6 * cost.macs_exact  # the cropped border, large at 16 pixels


def test_same_export_same_card(exported, trained_like, tmp_path):
    path, model = exported
    before = path.with_name("card.json").read_bytes()
    z = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    proof = verify_export(model, path, z, tolerance=0.02)
    write_card(path, model, z[:1], proof, LINEAGE, trained=trained_like("4", 16, 3))
    assert path.with_name("card.json").read_bytes() == before


def test_float_card_has_no_quantization(trained_like, tmp_path):
    model, path = trained_like("2", 16, 1), tmp_path / "generator.onnx"
    z = torch.randn(4, 100)
    export_onnx(model, path, z)
    card = write_card(path, model, z[:1], verify_export(model, path, z, tolerance=1e-4), LINEAGE)
    assert (card.number_type, card.quantization, card.verified_against) == ("float32", None, "torch float32")
    assert card.cost.macs_deployed == card.cost.macs_exact
    assert read_card(path) == card


def test_changed_file_is_refused(exported):
    path, _ = exported
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"has sha256 \w{12}…, its card says \w{12}…: it was changed after the export"
    ):
        read_card(path)


def test_truncated_file_is_refused(exported):
    path, _ = exported
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"its card says [\d,]+: truncated; export again"):
        read_card(path)


@pytest.mark.parametrize("missing", ["generator.onnx", "card.json"])
def test_missing_file_is_named(exported, missing):
    path, _ = exported
    path.with_name(missing).unlink()
    with pytest.raises(CheckpointError, match=f"{missing} does not exist; export the generator again"):
        read_card(path)


def test_damaged_card_is_refused(exported):
    path, _ = exported
    card = path.with_name("card.json")
    content = json.loads(card.read_text())
    card.write_text(json.dumps(content | {"size_bytes": "many"}))
    with pytest.raises(CheckpointError, match=r"card.json is no readable card: size_bytes: .*; export again"):
        read_card(path)
    card.write_bytes(b"\xff{")
    with pytest.raises(CheckpointError, match=r"card.json is no readable card: the file: "):
        read_card(path)
    card.write_text("{")
    with pytest.raises(CheckpointError, match=r"card.json is no readable card: the file: "):
        read_card(path)
