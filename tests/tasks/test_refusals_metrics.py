"""The stages evaluate and sweep with inputs that cannot be measured: one line, exit code 2, previous results kept."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from ganpress.edge.graphs import onnx_export
from ganpress.files.checkpoint import load_model, save_model
from ganpress.registries import TARGETS
from models.builders import Blueprint, generator_blueprint
from models.family import Canvas
from tasks import compress, evaluate, export, search, sweep

CHECKOUT = Path(__file__).resolve().parents[2]
MODELS = ("teacher", "student/d2", "control/d2", "subnet", "compress/pruned")
IMAGES = 40
ADVICE = "prepare the data that it was trained on, or train it on this data"
EXPORTED = {"onnx": {"generator": "teacher", "form": "native"}}
WRITTEN = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}


def params(**sections):
    content = yaml.safe_load((CHECKOUT / "params.yaml").read_text(encoding="utf-8"))
    changes = {
        "prepare": {"image_size": 16},
        "evaluate": {"images": IMAGES, "neighbours": 3, "kid_subset_size": 20, "kid_subsets": 2, "is_splits": 2},
        "sweep": {"generator": "subnet", "clipping": ["none"], "bits": [8], "images": IMAGES},
        "student": {"items": {"d2": {"depth": 2, "loss": "mse"}}},
        "control": {"items": {"d2": {"depth": 2}}},
        "compress": {"calibration_images": 8, "items": {"pruned": {"generator": "subnet", "sparsity": 0.5}}},
        "export": {"tolerance": 1e-3, "verification_images": 2, "latency_rounds": 3, "items": EXPORTED},
    }
    return content | {name: content[name] | more | sections.get(name, {}) for name, more in changes.items()}


@pytest.fixture(scope="module")
def run(run_stage):
    """(root, stage module, item, section=…) -> exit code."""

    def execute(root, module, item=None, **sections):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "ganpress.edge.proven_export.peak_memory", lambda *_: None
            )  # starts a process that imports torch
            return run_stage(root, module, item, params(**sections))

    return execute


@pytest.fixture(scope="module")
def chain(tmp_path_factory, trained_like, write_prepared, write_judge, run):
    """A project whose generators can all be measured, edge files included."""
    root = tmp_path_factory.mktemp("chain")
    artifacts = root / "artifacts"
    write_prepared(artifacts)
    write_judge(artifacts)
    blueprint = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})
    for reference in MODELS:
        save_model(artifacts / reference / "generator.safetensors", trained_like("2", 16, 1), blueprint)
    for item in EXPORTED:
        assert run(root, export, item) == 0
    for folder in ("evaluate", "sweep", "search", "supernet"):
        (artifacts / folder).mkdir(parents=True)
        (artifacts / folder / "metrics.json").write_text("former")
    shutil.copy(artifacts / "teacher" / "generator.safetensors", artifacts / "supernet" / "supernet.safetensors")
    return root


@pytest.fixture
def artifacts(chain, tmp_path):
    """Of a copy of the chain."""
    return shutil.copytree(chain, tmp_path / "chain") / "artifacts"


@pytest.fixture
def refusal(artifacts, run, capfd):
    """(stage module, item, section=…) -> the single line of a stage that was refused."""

    def refused(module, item=None, **sections):
        name = module.__name__.rpartition(".")[2]
        former = artifacts / name / (item or "")
        before = {path.name: path.read_bytes() for path in former.iterdir()}
        assert before
        assert run(artifacts.parent, module, item, **sections) == 2
        assert {path.name: path.read_bytes() for path in former.iterdir()} == before
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"{name}: ")
        return line.removeprefix(f"{name}: ")

    return refused


def write_diverged(path):
    model, blueprint = load_model(path)
    next(model.parameters()).data.fill_(float("nan"))
    save_model(path, model, blueprint)


def test_generator_that_draws_nan_is_named(artifacts, refusal):
    write_diverged(artifacts / "control" / "d2" / "generator.safetensors")
    assert refusal(evaluate) == "control/d2 draws NaN or infinite pixels: it has diverged; train it again"


def test_judge_that_sees_nan_is_told_from_generators(artifacts, refusal):
    write_diverged(artifacts / "judge" / "judge.safetensors")
    for module, item in ((evaluate, None), (sweep, None)):
        assert refusal(module, item).startswith("the reference features hold NaN or infinity in 60 of 60 samples; ")


@pytest.mark.parametrize(("module", "item"), [(compress, "pruned"), (sweep, None)])
def test_diverged_generator_is_not_compressed(artifacts, refusal, module, item):
    write_diverged(artifacts / "subnet" / "generator.safetensors")
    assert refusal(module, item) == "WdcganGenerator draws NaN or infinite pixels: it has diverged; train it again"


def test_generator_that_draws_nan_later_on_is_named(artifacts, refusal, monkeypatch):
    opened = evaluate.open_runner

    def open_runner(stage, subject, threads):
        runner = opened(stage, subject, threads)
        if subject.reference != "control/d2":
            return runner
        return lambda z: runner(z) if len(z) == 1 else runner(z) * float("nan")

    monkeypatch.setattr(evaluate, "open_runner", open_runner)
    expected = "control/d2: the generator produces NaN or infinite pixels; it has diverged or its weights are damaged"
    assert refusal(evaluate) == expected


def test_fewer_generated_images_than_neighbours(refusal):
    few = {"images": 5, "neighbours": 5, "kid_subset_size": 4}
    expected = "5 samples have at most 4 neighbours each, 5 are asked for; lower evaluate.neighbours or give it more"
    assert refusal(evaluate, evaluate=few).startswith(f"teacher: {expected}")
    assert refusal(sweep, evaluate=few, sweep={"images": 5}).startswith(expected)


def test_fewer_real_images_than_neighbours(refusal):
    expected = "60 samples have at most 59 neighbours each, 60 are asked for; lower evaluate.neighbours"
    assert refusal(evaluate, evaluate={"neighbours": 60}).startswith(expected)
    assert refusal(sweep, evaluate={"neighbours": 60}).startswith(expected)


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_of_a_level_out_of_range(refusal, bits):
    line = refusal(sweep, sweep={"bits": [8, bits]})
    assert line.startswith(f"params.yaml: sweep: 'bits.1' is {bits}: ")


@pytest.mark.parametrize(
    ("module", "item", "reference"),
    [
        (evaluate, None, "student/d2/generator.safetensors"),
        (evaluate, None, "judge/judge.safetensors"),
        (sweep, None, "subnet/generator.safetensors"),
        (compress, "pruned", "subnet/generator.safetensors"),
        (export, "onnx", "teacher/generator.safetensors"),
        (search, None, "supernet/supernet.safetensors"),
    ],
)
def test_truncated_model_file(artifacts, refusal, module, item, reference):
    path = artifacts / reference
    path.write_bytes(path.read_bytes()[:-400])
    assert refusal(module, item).startswith(f"{path} is damaged or not a weights file: ")


def test_generator_of_other_images_is_named_before_any_is_measured(artifacts, refusal):
    larger = Blueprint("wdcgan_generator", {"spec": "2", "size": 32, "channels": 1})
    save_model(artifacts / "subnet" / "generator.safetensors", larger.build().eval(), larger)
    assert refusal(evaluate) == f"subnet draws images (1, 32, 32), but the prepared ones are (1, 16, 16); {ADVICE}"


@pytest.mark.usefixtures("unchecked_shapes")
def test_generator_of_other_inputs_is_named_before_any_is_measured(artifacts, refusal):
    pictures = generator_blueprint("mobile_resnet_9blocks:ngf=2", Canvas(1, 16, 16, 1, 16, 16))
    save_model(artifacts / "subnet" / "generator.safetensors", pictures.build().eval(), pictures)
    line = refusal(evaluate)
    assert line.startswith("inputs of the test split (1, 100) do not fit subnet: ")
    assert line.endswith(f"; {ADVICE}")


def as_by_a_newer_runtime(path, known, unknown):
    """Put an operator that no version has into an edge file, whose card describes it as it then is."""
    content = path.read_bytes()
    assert known in content
    path.write_bytes(content := content.replace(known, unknown))
    card = json.loads(path.with_name("card.json").read_text())
    card |= {name: hashlib.new(name, content).hexdigest() for name in ("sha256", "md5")}
    path.with_name("card.json").write_text(json.dumps(card))


@pytest.mark.parametrize("item", [*EXPORTED, pytest.param("openvino", marks=pytest.mark.slow)])
def test_edge_file_that_is_not_the_one_that_was_written(artifacts, run, refusal, item):
    """Cut off, changed, and by a version whose runtime knows more operators."""
    if item == "openvino" and (needed := TARGETS[item].missing()):
        pytest.skip(f"needs {needed}")
    items = EXPORTED | {item: {"generator": "teacher", "target": item, "form": "native"}}
    assert run(artifacts.parent, export, item, export={"items": items}) == 0
    runtime = {"onnx": "onnxruntime", "openvino": "openvino"}[item]
    paths = [artifacts / "export" / item / f"generator{suffix}" for suffix in WRITTEN[item]]
    for path in paths:
        whole = path.read_bytes()
        path.write_bytes(whole[:-40])
        expected = f"{path} has {len(whole) - 40:,} bytes, its card says {len(whole):,}: truncated; export again"
        assert refusal(evaluate, export={"items": items}) == expected
        path.write_bytes(whole[:-41] + bytes([whole[-41] ^ 1]) + whole[-40:])
        line = refusal(evaluate, export={"items": items})
        assert line.endswith("it was changed after the export; export again")
        path.write_bytes(whole)
    as_by_a_newer_runtime(paths[0], b"Tanh", b"Tanx")
    line = refusal(evaluate, export={"items": items})
    assert line.startswith(f"{paths[0]} needs a kernel that {runtime} ")
    assert "Tanx" in line
    assert line.endswith(f"`uv sync --upgrade-package {runtime}`, or export it again")


def test_export_for_a_runtime_without_the_kernel(artifacts, refusal, monkeypatch):
    write = onnx_export.write_content
    monkeypatch.setattr(
        onnx_export, "write_content", lambda path, content: write(path, content.replace(b"Tanh", b"Tanx"))
    )
    line = refusal(export, "onnx")
    assert "needs a kernel that onnxruntime " in line
    assert "Tanx" in line
