"""Bad input of the stages compress and export: one line, exit code 2, and previous outputs are kept."""

import shutil

import pytest
import torch

from ganpress.compression.algorithms.linear_quantization import LinearQuantization, rounding_of
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.config.edge_section import CompressItem
from ganpress.data.prepared.arrays import PreparedMeta
from ganpress.edge.proof.edge_card import read_card
from ganpress.edge.targets import target
from ganpress.errors import CheckpointError
from ganpress.files.checkpoint import save_model
from ganpress.files.tensor_files import read_tensor_file, tensor_bytes
from models.builders import Blueprint
from models.quantized import CalibrationRecord
from tasks import compress, export
from tasks.shared.stage import Stage
from tasks.shared.subjects import Subject, open_runner

PRUNED = {"weight_bits": 4, "sparsity": 0.5}
INT8 = {"generator": "teacher", "weight_bits": 8, "activation_bits": 8, "clipping": "mse", "scan": False}
PARAMS = {
    "seed": 3,
    "compress": {"calibration_images": 32, "items": {"int8": INT8}},
    "export": {
        "tolerance": 0.02,
        "min_snr_db": 5,
        "verification_images": 8,
        "calibration_images": 16,
        "latency_rounds": 3,
        "items": {
            "float": {"generator": "teacher", "form": "native"},
            "own": {"generator": "compress/int8"},
            "runtime": {"generator": "teacher", "form": "subpixel", "number_type": "int8"},
        },
    },
}


@pytest.fixture
def project(trained_like, tmp_path, monkeypatch):
    """Artifacts of a project with a teacher."""
    blueprint = Blueprint("wdcgan_generator", {"spec": "3", "size": 16, "channels": 1})
    save_model(tmp_path / "artifacts" / "teacher" / "generator.safetensors", trained_like("3", 16, 1), blueprint)
    prepared = tmp_path / "artifacts" / "prepare"
    prepared.mkdir()
    PreparedMeta("digits", 16, 1, [], {"train": 8, "validation": 8, "test": 8}, "none").save(prepared)
    monkeypatch.setattr(
        "ganpress.edge.proven_export.peak_memory", lambda *_: None
    )  # starts a process that imports torch
    return tmp_path / "artifacts"


@pytest.fixture
def run(project, run_stage):
    """(stage module, item, section=…) -> exit code."""

    def execute(module, item, **sections):
        params = PARAMS | {name: PARAMS[name] | more for name, more in sections.items()}
        return run_stage(project.parent, module, item, params)

    return execute


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": {"int8": INT8 | {"weight_bits": 9}}}, "items.int8: method quantize: 'weight_bits' is 9: "),
        ({"items": {"int8": INT8 | {"weight_bits": 1}}}, "items.int8: method quantize: 'weight_bits' is 1: "),
        ({"items": {"int8": INT8 | {"activation_bits": 0}}}, "items.int8: method quantize: 'activation_bits' is 0: "),
        ({"items": {"int8": INT8 | {"clipping": "max"}}}, "items.int8: method quantize: 'clipping' is 'max': "),
        ({"items": {"int8": INT8 | {"width": 0}}}, "items.int8: method prune_channels: 'width' is 0: "),
        (
            {"items": {"int8": {"generator": "teacher", "sparsity": 0.5, "equalized": True}}},
            "items.int8: method quantize: quantize needs weight_bits or activation_bits: both are null and equalized",
        ),
        ({"calibration_images": 0}, "'calibration_images' is 0: "),
    ],
)
def test_options_out_of_range_leave_the_former_result(project, run, capsys, changes, message):
    former = project / "compress" / "int8"
    former.mkdir(parents=True)
    (former / "generator.safetensors").write_bytes(b"former")
    assert run(compress, "int8", compress=changes) == 2
    refused = capsys.readouterr().err.strip()
    assert refused.startswith(f"compress: params.yaml: compress: {message}")
    assert "\n" not in refused
    assert contents(former) == {"generator.safetensors": b"former"}


@pytest.mark.parametrize("name", ["openvino", "executorch"])
def test_absent_target_ends_in_the_install_command(run, project, monkeypatch, capsys, name):
    monkeypatch.setattr(target.importlib.metadata, "distributions", lambda **_: [])
    former = project / "export" / "edge"
    former.mkdir(parents=True)
    (former / "card.json").write_text("former")
    assert run(export, "edge", export={"items": {"edge": {"generator": "teacher", "target": name}}}) == 2
    refused = capsys.readouterr().err.strip()
    assert refused == f"export: the target '{name}' is not installed; run `uv sync --extra {name}`"
    assert contents(former) == {"card.json": b"former"}


def test_number_type_of_another_target_is_refused(run, capsys):
    item = {"generator": "teacher", "target": "executorch", "number_type": "float16"}
    assert run(export, "edge", export={"items": {"edge": item}}) == 2
    assert "target 'executorch' takes the number types auto, float32, int8" in capsys.readouterr().err


def test_changed_generator_is_refused(project, run, capsys):
    path = project / "teacher" / "generator.safetensors"
    state, facts = read_tensor_file(path)
    state["head.bias"].add_(1e-3)
    path.write_bytes(tensor_bytes(state, facts))
    assert run(compress, "int8") == 2
    refused = capsys.readouterr().err.strip()
    assert refused.endswith("was changed after it was written: its digest does not match; create it again")
    assert "\n" not in refused


def test_changed_edge_file_is_not_measured(project, run):
    assert run(export, "float") == 0
    path = project / "export" / "float" / "generator.onnx"
    subject = Subject("export/float", path, "teacher", project / "teacher" / "generator.safetensors")
    stage = Stage("evaluate", None, project.parent, PARAMS)
    assert open_runner(stage, subject, 1)(torch.zeros(2, 100)).shape == (2, 1, 16, 16)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="it was changed after the export; export again"):
        open_runner(stage, subject, 1)


def test_card_lists_every_choice_of_the_compression(project, run):
    assert run(compress, "int8") == 0
    assert run(export, "own") == 0
    card = read_card(project / "export" / "own" / "generator.onnx")
    made = card.lineage.compression
    # Bits, and of these the share of zeros, have fields of their own; a scan changes nothing.
    assert set(made.options) == set(LinearQuantization.model_fields) - {"weight_bits", "activation_bits", "scan"}
    assert made.options["clipping"] == "mse"
    assert made.options["percentile"] == 99.99
    assert made.weight_scheme == "symmetric per output channel, least squared error"
    assert made.activation_scheme == "asymmetric, inputs per tensor, outputs per channel, least squared error"
    assert (card.quantization.weight_bits, card.quantization.activation_bits, made.sparsity) == (8, 8, 0.0)


def test_card_says_how_the_runtimes_own_quantizer_was_used(project, run):
    assert run(export, "runtime") == 0
    card = read_card(project / "export" / "runtime" / "generator.onnx")
    assert card.lineage.compression is None
    assert card.quantization.scheme.startswith("ONNX Runtime, static: weights symmetric per channel")
    assert isinstance(card.quantization.calibration, CalibrationRecord)
    assert (card.quantization.calibration.count, card.quantization.calibration.seed) == (16, 3)


@pytest.mark.parametrize("text", ["{", "[]", '{"source": "teacher"}'])
def test_damaged_record_of_a_compression_is_named(project, run, capsys, text):
    folder = shutil.copytree(project / "teacher", project / "compress" / "int8")
    (folder / "compression.json").write_text(text)
    assert run(export, "own") == 2
    assert not list((project / "export" / "own").iterdir())
    assert "compression.json is damaged" in (refused := capsys.readouterr().err)
    assert "delete it and run `dvc repro compress@int8`" in refused


def test_options_that_are_not_of_rounding_are_not_passed_to_the_quantizer():
    options = LinearQuantization(weight_bits=6, clipping="kl", equalized=True, scan=True, max_bytes=9000)
    assert rounding_of(options) == QuantizationConfig(6, None, clipping="kl")


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ({"name": "quantize", "weight_bits": 8}, {"weight_bits": 8}),
        ([{"name": "prune", "sparsity": 0.5}, {"name": "quantize", "weight_bits": 4}], PRUNED),
        ([{"name": "prune_channels", "width": 0.5}], {"width": 0.5}),
    ],
)
def test_an_item_s_own_options_are_short_for_its_algorithms(long, short):
    assert CompressItem(generator="teacher", method=long) == CompressItem(generator="teacher", **short)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "needs weight_bits, activation_bits or sparsity, or a width below 1, or a method"),
        ({"weight_bits": 8, "colour": 1}, "colour"),
        ({"method": [{"name": "quantize", "weight_bits": 8}, {"name": "prune", "sparsity": 0.5}]}, "put it last"),
        ({"method": [{"weight_bits": 8}]}, "unknown compressor ''; known: prune, prune_channels, qad, quantize"),
        ({"method": []}, "needs weight_bits"),
        ({"method": {"name": "quantize", "weight_bits": 8}, "activation_bits": 8}, "put it last"),
    ],
)
def test_what_is_no_compression_is_refused(item, message):
    with pytest.raises(ValueError, match=message):
        CompressItem(generator="teacher", **item)
