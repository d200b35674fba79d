"""Calibration sets and splits that are empty or have another shape: one line, exit code 2, and nothing is lost."""

import numpy as np
import pytest
import torch

from ganpress.files.checkpoint import load_model, save_model
from models.builders import generator_blueprint
from models.family import Canvas
from tasks import compress, export, sweep

SIZE, CHANNELS = 16, 3
COUNTS = {"train": 8, "validation": 6, "test": 6}
INT8 = {"generator": "teacher", "weight_bits": 8, "activation_bits": 8}
PARAMS = {
    "seed": 3,
    "compress": {"calibration_images": 8, "items": {"int8": INT8}},
    "export": {
        "tolerance": 0.02,
        "verification_images": 4,
        "calibration_images": 4,
        "items": {
            "onnx": {"generator": "teacher"},
            "openvino": {"generator": "teacher", "target": "openvino"},
            "executorch": {"generator": "teacher", "target": "executorch"},
            "int8": {"generator": "teacher", "number_type": "int8"},
        },
    },
    "sweep": {"generator": "teacher", "clipping": ["none"], "bits": [8], "images": 6},
}


def write_teacher(artifacts, reads=CHANNELS):
    blueprint = generator_blueprint("mobile_resnet_9blocks:ngf=2", Canvas(CHANNELS, SIZE, SIZE, reads, SIZE, SIZE))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(artifacts / "teacher" / "generator.safetensors", blueprint.build().eval(), blueprint)


@pytest.fixture
def project(tmp_path, write_pairs):
    """Artifacts of a project with paired data and a teacher that reads it."""
    artifacts = tmp_path / "artifacts"
    write_teacher(artifacts)
    noise = np.random.default_rng(0).integers(0, 256, (2, max(COUNTS.values()), CHANNELS, SIZE, SIZE)).astype(np.uint8)
    write_pairs(artifacts / "prepare", "noise", {split: noise[:, :count] for split, count in COUNTS.items()})
    return artifacts


@pytest.fixture
def refusal(project, run_stage, capsys):
    """(stage module, item) -> the single line of a stage that was refused; what it made before is still there."""

    def run(module, item=None):
        name = module.__name__.rpartition(".")[2]
        former = project / name / (item or "")
        former.mkdir(parents=True, exist_ok=True)
        for made in ("metrics.json", "generator.onnx"):
            (former / made).write_text("former")
        (former / "pictures").mkdir(exist_ok=True)
        assert run_stage(project.parent, module, item, PARAMS) == 2
        assert sorted(path.name for path in former.iterdir()) == ["generator.onnx", "metrics.json", "pictures"]
        assert {(former / made).read_text() for made in ("metrics.json", "generator.onnx")} == {"former"}
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{name}: ")
        return line.removeprefix(f"{name}: ")

    return run


ADVICE = "; prepare the data that it was trained on, or train it on this data"


@pytest.mark.parametrize(("module", "item"), [(compress, "int8"), (sweep, None)])
def test_calibration_set_of_another_shape(project, refusal, module, item):
    write_teacher(project, reads=1)
    line = refusal(module, item)
    assert line.startswith("calibration inputs (8, 3, 16, 16) do not fit ResnetGenerator: ")
    assert "to have 1 channels, but got 3 channels instead" in line
    assert line.endswith(ADVICE)


OTHER_TARGETS = [pytest.param(name, marks=pytest.mark.needs_target(name)) for name in ("openvino", "executorch")]


@pytest.mark.parametrize("target", ["onnx", *OTHER_TARGETS])
def test_data_of_another_shape_for_every_target(project, refusal, target):
    write_teacher(project, reads=1)
    line = refusal(export, target)
    assert line.startswith("inputs (2, 3, 16, 16) do not fit ResnetGenerator: ")
    assert line.endswith(ADVICE)


def test_calibration_set_that_differs_from_the_test_split(project, refusal):
    path = project / "prepare" / "train_sources.npy"
    np.save(path, np.load(path)[:, :, :8, :8])
    line = refusal(export, "int8")
    assert line == "calibration inputs are (3, 8, 8), the generator takes (3, 16, 16); prepare the data again"


@pytest.mark.parametrize(
    ("split", "module", "item", "message"),
    [
        ("train", compress, "int8", "calibration inputs must be (N, …) with N >= 1, found (0, 3, 16, 16); add data"),
        ("train", sweep, None, "calibration inputs must be (N, …) with N >= 1, found (0, 3, 16, 16); add data"),
        ("train", export, "int8", "int8 for 'onnx' needs calibration inputs, found none; "),
        ("validation", compress, "int8", "inputs of the validation split must be (N, …) with N >= 1, found (0, 3"),
        ("test", export, "onnx", "inputs must be (N, …) with N >= 1, found (0, 3, 16, 16); add data"),
    ],
)
def test_empty_split(project, refusal, split, module, item, message):
    for path in (project / "prepare").glob(f"{split}*.npy"):
        np.save(path, np.load(path)[:0])
    assert refusal(module, item).startswith(message)


@pytest.mark.parametrize("item", ["onnx", "int8"])
def test_diverged_generator_is_not_exported(project, refusal, item):
    path = project / "teacher" / "generator.safetensors"
    model, blueprint = load_model(path)
    next(model.parameters()).data.fill_(float("nan"))
    save_model(path, model, blueprint)
    expected = "ResnetGenerator draws NaN or infinite pixels: it has diverged; train it again"
    assert refusal(export, item) == expected
