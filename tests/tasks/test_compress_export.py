"""The stages compress and export, run as the pipeline runs them, in this process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from ganpress.compression.packed.packing import load_packed
from ganpress.data.prepared.arrays import PreparedMeta
from ganpress.data.prepared.generator_inputs import LatentInputs, inputs_digest
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.edge.proof.edge_card import read_card
from ganpress.files.checkpoint import file_digest, load_model, save_model
from ganpress.files.edge_files import find_edge_file
from ganpress.files.frames import read_content
from ganpress.registries import TARGETS
from models.builders import Blueprint
from models.wdcgan import WdcganGenerator, WdcganSpec
from tasks import compress, export

PARAMS = {
    "seed": 3,
    "compress": {
        "calibration_images": 32,
        "items": {
            "int8": {"generator": "student/d3", "weight_bits": 8, "activation_bits": 8},
            "pruned": {"generator": "student/d3", "sparsity": 0.5},
            "both": {"generator": "student/d3", "weight_bits": 4, "activation_bits": 8, "sparsity": 0.5},
            "narrow": {"generator": "student/d3", "weight_bits": 6, "width": 0.67, "scan": True},
            "even": {"generator": "student/d3", "weight_bits": 8, "activation_bits": 8, "equalized": True},
            "budget": {"generator": "student/d3", "weight_bits": 8, "max_bytes": 7000},
            "tight": {"generator": "student/d3", "weight_bits": 8, "max_bytes": 70},
        },
    },
    "export": {
        "tolerance": 0.02,
        "verification_images": 16,
        "items": {
            "d3": {"generator": "student/d3"},
            "int8": {"generator": "compress/int8"},
            "control": {"generator": "control/d3"},
            "packed": {"generator": "compress/int8", "packed": True},
        },
    },
}


@pytest.fixture
def project(trained_like, tmp_path):
    """Artifacts of a project with a teacher, a student and a control."""
    for number, reference in enumerate(("teacher", "student/d3", "control/d3")):
        model = trained_like("3", 16, 1)
        with torch.no_grad():
            model.head.bias.add_(0.01 * number)
        blueprint = Blueprint("wdcgan_generator", {"spec": "3", "size": 16, "channels": 1})
        save_model(tmp_path / "artifacts" / reference / "generator.safetensors", model, blueprint)
    prepared = tmp_path / "artifacts" / "prepare"
    prepared.mkdir()
    PreparedMeta("digits", 16, 1, [], {"train": 8, "validation": 8, "test": 8}, "none").save(prepared)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return tmp_path / "artifacts"


def test_int8_records_its_calibration_and_its_quality(project, run_stage):
    assert run_stage(project.parent, compress, "int8") == 0
    folder = project / "compress" / "int8"
    record, metrics = (json.loads((folder / name).read_text()) for name in ("compression.json", "metrics.json"))
    generator, blueprint = load_model(folder / "generator.safetensors", "quantized")
    assert generator(torch.zeros(2, 100)).shape == (2, 1, 16, 16)
    assert (record["source"], record["source_md5"]) == (
        "student/d3",
        file_digest(project / "student" / "d3" / "generator.safetensors", "md5"),
    )
    assert (record["weight_bits"], record["activation_bits"], record["sparsity"]) == (8, 8, 0.0)
    assert record["calibration"] == blueprint.arguments["calibration"]
    assert record["calibration"]["count"] == 32
    seed = record["calibration"]["seed"]
    assert inputs_digest(LatentInputs().draw(seed, "calibration", 32)) == record["calibration"]["sha256"]
    assert [one["tensor"] for one in record["activations"]] == [
        f"{layer} {side}" for layer in ("blocks.0.conv", "blocks.1.conv", "head") for side in ("input", "output")
    ]
    assert metrics["size_bytes"] == (folder / "generator.safetensors").stat().st_size
    assert metrics["snr_db"] > 20


def test_pruned_generator_stays_a_plain_one(project, run_stage):
    assert run_stage(project.parent, compress, "pruned") == 0
    folder = project / "compress" / "pruned"
    generator, _ = load_model(folder / "generator.safetensors", "wdcgan_generator")
    assert isinstance(generator, WdcganGenerator)
    record = json.loads((folder / "compression.json").read_text())
    assert record["calibration"] is None
    assert all(layer["zeros"] == round(0.5 * layer["weights"]) for layer in record["layers"])
    assert json.loads((folder / "metrics.json").read_text())["sparsity"] == pytest.approx(0.5, abs=0.01)


def test_pruning_comes_before_quantization(project, run_stage):
    assert run_stage(project.parent, compress, "both") == 0
    record = json.loads((project / "compress" / "both" / "compression.json").read_text())
    assert all(layer["sparsity"] >= 0.5 - 1 / layer["weights"] for layer in record["layers"])
    assert record["weight_bits"] == 4


def test_the_evaluated_generator_is_what_the_packed_file_holds(project, run_stage):
    assert run_stage(project.parent, compress, "both") == 0
    folder = project / "compress" / "both"
    packed, blueprint = load_packed(folder / "generator.ganpack")
    generator, found = load_model(folder / "generator.safetensors")
    assert blueprint == found
    for name, tensor in generator.state_dict().items():
        assert torch.equal(packed.state_dict()[name], tensor)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["packed_bytes"] == (folder / "generator.ganpack").stat().st_size < metrics["size_bytes"]
    assert metrics["float_macs_share"] == 0


def test_channels_are_cut_before_weights_are_rounded(project, run_stage):
    assert run_stage(project.parent, compress, "narrow") == 0
    folder = project / "compress" / "narrow"
    _, blueprint = load_model(folder / "generator.safetensors")
    assert WdcganSpec.parse(blueprint.arguments["base"]["arguments"]["spec"], levels=2).widths == (4, 2)
    record = json.loads((folder / "compression.json").read_text())
    assert record["options"]["width"] == 0.67
    assert all(list(layer["weights"]) == [str(bits) for bits in range(2, 9)] for layer in record["scan"].values())


def test_channels_are_equalized_before_weights_are_rounded(project, run_stage):
    codes = {}
    for item in ("int8", "even"):
        assert run_stage(project.parent, compress, item) == 0
        generator, _ = load_packed(project / "compress" / item / "generator.ganpack")
        codes[item] = generator.quantized_layers()[-1].weight
    record = json.loads((project / "compress" / "even" / "compression.json").read_text())
    assert record["weight_scheme"] == "symmetric per output channel, largest magnitude, equalized across layers"
    assert not torch.equal(codes["int8"], codes["even"])
    assert json.loads((project / "compress" / "even" / "metrics.json").read_text())["snr_db"] > 20


def test_the_file_keeps_its_budget(project, run_stage, capsys):
    assert run_stage(project.parent, compress, "budget") == 0
    folder = project / "compress" / "budget"
    assert (folder / "generator.ganpack").stat().st_size <= 7000
    assert json.loads((folder / "compression.json").read_text())["layer_bits"]
    assert run_stage(project.parent, compress, "tight") == 2
    assert "max_bytes is 70, but the smallest packed file found has" in capsys.readouterr().err


def test_same_seed_same_bytes(project, run_stage):
    digests = []
    for _ in range(2):
        assert run_stage(project.parent, compress, "int8") == 0
        assert run_stage(project.parent, export, "int8") == 0
        files = sorted((*project.glob("compress/int8/*"), *project.glob("export/int8/*.onnx")))
        card = json.loads((project / "export" / "int8" / "card.json").read_text())
        lasting = {name: value for name, value in card.items() if name not in ("speed", "kernels")}
        digests.append([*(file_digest(path, "md5") for path in files), lasting])
    assert len(digests[0]) == 6
    assert digests[0] == digests[1]


def test_float_export_is_proven_and_knows_its_teacher(project, run_stage):
    assert run_stage(project.parent, export, "d3") == 0
    card = read_card(project / "export" / "d3" / "generator.onnx")
    assert card.lineage.source == "student/d3"
    assert card.lineage.source_md5 == file_digest(project / "student" / "d3" / "generator.safetensors", "md5")
    assert card.lineage.teacher_md5 == file_digest(project / "teacher" / "generator.safetensors", "md5")
    assert card.verification.max_abs_error <= 1e-5
    metrics = json.loads((project / "export" / "d3" / "metrics.json").read_text())
    assert metrics["size_bytes"] == card.size_bytes
    assert metrics["parameters"] == card.cost.parameters


def test_control_has_no_teacher(project, run_stage):
    assert run_stage(project.parent, export, "control") == 0
    assert read_card(project / "export" / "control" / "generator.onnx").lineage.teacher_md5 is None


def test_integer_export_is_the_integer_simulation(project, run_stage):
    assert run_stage(project.parent, compress, "int8") == 0
    assert run_stage(project.parent, export, "int8") == 0
    path = project / "export" / "int8" / "generator.onnx"
    assert read_card(path).number_type == "w8a8"
    generator, _ = load_model(project / "compress" / "int8" / "generator.safetensors")
    z = torch.randn(5, 100, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(OnnxGenerator(path, threads=1)(z), generator(z), rtol=0, atol=generator.output_step)


def test_packed_item_is_the_plain_one_of_fewer_bytes(project, run_stage):
    for module, item in ((compress, "int8"), (export, "packed")):
        assert run_stage(project.parent, module, item) == 0
    plain, path = project / "generator.onnx", project / "export" / "packed" / "generator.onnx.zst"
    export_onnx(load_model(project / "compress" / "int8" / "generator.safetensors")[0], plain, torch.zeros(2, 100))
    assert {one.name for one in path.parent.iterdir()} == {path.name, "card.json", "metrics.json"}
    card = read_card(path)
    metrics = json.loads((path.parent / "metrics.json").read_text())
    assert read_content(path) == plain.read_bytes()
    assert metrics["size_bytes"] == card.size_bytes == path.stat().st_size < plain.stat().st_size
    assert metrics["decoded_bytes"] == card.packed.size_bytes == plain.stat().st_size
    assert card.kernels.layers == card.kernels.integer_layers > 0


def test_file_that_differs_ends_the_stage_and_is_kept_aside_with_a_picture(project, run_stage, capsys):
    params = PARAMS | {"export": PARAMS["export"] | {"tolerance": 1e-9}}
    folder = project / "export" / "d3"
    for _ in range(2):
        assert run_stage(project.parent, export, "d3", params) == 2
        line = capsys.readouterr().err
        assert "allowed is 1e-09 (export.tolerance" in line
        assert "kept as generator.refused.onnx and is not used as an export" in line
        assert {path.name for path in folder.iterdir()} == {"generator.refused.onnx", "generator.refused.png"}
        assert find_edge_file(folder) is None
    with Image.open(folder / "generator.refused.png") as picture:
        assert picture.size == (3 * 128 + 2 * 4, 128)
    TARGETS["onnx"].open(folder / "generator.refused.onnx")(torch.zeros(1, 100))  # whoever looks into it can run it
    assert run_stage(project.parent, export, "d3", PARAMS) == 0
    assert find_edge_file(folder) == folder / "generator.onnx"
    assert not list(folder.glob("*refused*"))


def test_a_refused_file_leaves_the_former_export_where_it_was(project, run_stage):
    folder = project / "export" / "d3"
    assert run_stage(project.parent, export, "d3") == 0
    former = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run_stage(project.parent, export, "d3", PARAMS | {"export": PARAMS["export"] | {"tolerance": 1e-9}}) == 2
    assert {name: (folder / name).read_bytes() for name in former} == former
    assert (folder / "generator.refused.onnx").exists()


def test_missing_generator_names_its_stage(project, run_stage, capsys):
    (project / "student" / "d3" / "generator.safetensors").unlink()
    assert run_stage(project.parent, compress, "int8") == 2
    assert "generator.safetensors is missing; run `dvc repro student@d3`" in capsys.readouterr().err


def test_truncated_generator_is_refused(project, run_stage, capsys):
    source = project / "student" / "d3" / "generator.safetensors"
    source.write_bytes(source.read_bytes()[:3000])
    assert run_stage(project.parent, export, "d3") == 2
    assert "is damaged or not a weights file" in capsys.readouterr().err


@pytest.mark.slow  # NNCF calibrates twice, once for each form
def test_openvino_item_is_written_by_its_own_quantizer_and_proven(project, run_stage):
    if TARGETS["openvino"].missing():
        pytest.skip(f"needs {TARGETS['openvino'].missing()}")
    item = {"generator": "student/d3", "target": "openvino", "number_type": "int8"}
    changes = {"min_snr_db": 5, "calibration_images": 16, "items": {"ov": item}}
    assert run_stage(project.parent, export, "ov", PARAMS | {"export": PARAMS["export"] | changes}) == 0
    path = project / "export" / "ov" / "generator.xml"
    card = read_card(path)
    assert (card.format, card.number_type, card.opset) == ("openvino", "int8", None)
    assert card.form_ms.keys() == {"native", "subpixel"}
    assert card.kernels.integer_layers == card.kernels.layers > 0
    assert card.speed.latency_ms_p50 <= card.speed.latency_ms_p95
    assert card.size_bytes == path.stat().st_size + path.with_suffix(".bin").stat().st_size


@pytest.mark.slow
def test_a_killed_training_of_integers_goes_on_to_the_same_bytes(project, tmp_path_factory):
    """`kill -9` of the stage's own process, after its first checkpoint."""
    root = project.parent
    qad = {"name": "qad", "weight_bits": 3, "train_images": 64_000}
    compress_section = {"calibration_images": 32, "items": {"trained": {"generator": "student/d3", "method": qad}}}
    (root / "params.yaml").write_text(yaml.safe_dump({"seed": 3, "compress": compress_section}))
    undisturbed = tmp_path_factory.mktemp("undisturbed") / "project"
    shutil.copytree(root, undisturbed)
    command = [sys.executable, "-P", "-m", "tasks.compress", "trained"]
    checkpoints = root / "checkpoints"
    environment = {
        **os.environ,
        **{"PYTHONPATH": str(Path(__file__).parents[2]), "GANPRESS_TRACKING": "off", "GANPRESS_THREADS": "1"},
        "GANPRESS_CHECKPOINTS": str(checkpoints),
    }
    with subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.DEVNULL) as stage:
        while stage.poll() is None and not list(checkpoints.glob("*.pt")):
            time.sleep(0.02)
        stage.kill()
    assert stage.returncode == -signal.SIGKILL
    result = Path("artifacts/compress/trained/generator.ganpack")
    assert not (root / result).exists()
    (checkpoint,) = checkpoints.glob("*.pt")
    assert 0 < torch.load(checkpoint, weights_only=True)["images_shown"] < qad["train_images"]
    subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    assert not list(checkpoints.glob("*.pt"))
    environment["GANPRESS_CHECKPOINTS"] = str(undisturbed / "checkpoints")
    subprocess.run(command, cwd=undisturbed, env=environment, capture_output=True, check=True)
    assert (root / result).read_bytes() == (undisturbed / result).read_bytes()
