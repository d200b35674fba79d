"""The stages that train, in order, on tiny real arrays: files in, files out."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from ganpress.config.base import read_yaml
from ganpress.config.params import merge_overlay
from ganpress.config.translation_section import FeatureDistillation
from ganpress.errors import BudgetError, CheckpointError, ConfigError, DataError, QualityGateFailed
from ganpress.files.checkpoint import load_model, save_model
from ganpress.tracking import StageRun
from models.builders import Blueprint
from models.elastic import Spec
from tasks import candidate, control, judge, search, student, subnet, supernet, teacher
from tasks.shared.conditional_stages import opponent_of
from tasks.shared.generator_training import identity
from tasks.shared.stage import Stage

CHECKOUT = Path(__file__).resolve().parents[2]

ORDER = [
    (judge, "judge", None),
    (candidate, "candidate", "d2"),
    (candidate, "candidate", "d3"),
    (teacher, "teacher", None),
    (student, "student", "d1-mse"),
    (student, "student", "d1-joint"),
    (control, "control", "d1"),
    (supernet, "supernet", None),
    (search, "search", None),
    (subnet, "subnet", None),
]


def params_with(changes: dict | None = None) -> dict:
    smoke = merge_overlay(read_yaml(CHECKOUT / "params.yaml"), read_yaml(CHECKOUT / "recipes" / "smoke.yaml"))
    small = {
        "judge": {"train_images": 640, "batch_size": 16, "min_accuracy": 0.0},
        "candidate": {"training": {"train_images": 160, "batch_size": 16}},
        "teacher": {"images": 40},
        "student": {"training": {"train_images": 160, "batch_size": 16}},
        "control": {"training": {"train_images": 160, "batch_size": 16}},
        "supernet": {"training": {"train_images": 160, "batch_size": 16}},
        "search": {"images": 40, "calibration_images": 40},
        "subnet": {"fine_tuning": {"train_images": 80, "batch_size": 16}},
    }
    return merge_overlay(merge_overlay(smoke, small), changes or {})


def execute(root: Path, module, name: str, item: str | None = None, **changes) -> Path:
    stage = Stage(name, item, root, params_with(changes))
    shutil.rmtree(stage.out, ignore_errors=True)  # as DVC does
    stage.out.mkdir(parents=True)
    module.work(stage, StageRun(root, None, ""))
    return stage.out


@pytest.fixture(scope="module")
def chain(tmp_path_factory, write_prepared):
    root = tmp_path_factory.mktemp("training")
    write_prepared(root / "artifacts")
    for module, name, item in ORDER:
        execute(root, module, name, item)
    return root


@pytest.fixture
def copied(chain, tmp_path):
    return Path(shutil.copytree(chain, tmp_path / "chain"))


def test_every_stage_writes_what_dvc_yaml_declares(chain):
    declared = read_yaml(CHECKOUT / "dvc.yaml")["stages"]
    for _, name, item in ORDER:
        body = declared[name].get("do", declared[name])
        outs = body["outs"] + body.get("metrics", []) + [next(iter(plot)) for plot in body.get("plots", [])]
        for out in outs:
            if out.startswith("artifacts/versions/"):  # written around a stage's work
                continue
            assert (chain / out.replace("${key}", str(item))).is_file(), out


def test_teacher_is_the_candidate_with_the_best_score(chain):
    with (chain / "artifacts/teacher/selection.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["item"] for row in rows} == {"d2", "d3"}
    best = max(rows, key=lambda row: float(row["score"]))
    assert [row["item"] for row in rows if row["selected"] == "1"] == [best["item"]]
    chosen = chain / "artifacts/candidate" / best["item"] / "generator.safetensors"
    assert (chain / "artifacts/teacher/generator.safetensors").read_bytes() == chosen.read_bytes()


def test_subnet_is_the_searched_spec_and_extracted_beside(chain):
    best = json.loads((chain / "artifacts/search/best.json").read_text())
    _, blueprint = load_model(chain / "artifacts/subnet/generator.safetensors")
    assert Spec.parse(blueprint.arguments["spec"], 2) == Spec.parse(best["spec"], 2)
    assert (
        sum(p.numel() for p in load_model(chain / "artifacts/subnet/extracted.safetensors")[0].parameters())
        == best["parameters"]
    )


def test_without_fine_tuning_the_subnet_is_the_extracted_one(copied):
    out = execute(copied, subnet, "subnet", subnet={"fine_tuning": None})
    assert (out / "generator.safetensors").read_bytes() == (out / "extracted.safetensors").read_bytes()


def test_front_lies_inside_the_budget_and_the_scores(chain):
    with (chain / "artifacts/search/scores.csv").open() as file:
        scores = list(csv.DictReader(file))
    with (chain / "artifacts/search/front.csv").open() as file:
        front = list(csv.DictReader(file))
    assert all(int(row["parameters"]) <= 20000 for row in scores)
    assert {row["spec"] for row in front} <= {row["spec"] for row in scores}


def test_latency_is_predicted_from_a_table_whose_error_is_told(copied):
    settings = {"objectives": ["macs", "latency"], "latency": "table", "latency_samples": 6, "latency_repeats": 3}
    execute(copied, supernet, "supernet", supernet={"widths": [1, 2, 3]})
    out = execute(copied, search, "search", search=settings)
    best = json.loads((out / "best.json").read_text())
    assert best["latency_ms_p50"] > 0
    assert best["latency_error_median"] <= best["latency_error_p90"]
    assert best["latency_runtime"] == "torch"
    assert best["latency_layers"] >= 6
    assert [set(one) for one in best["latency_samples"]] == [{"spec", "measured_ms", "predicted_ms"}] * 6
    (table,) = (copied / ".ganpress" / "latency").iterdir()
    lines = table.read_text().splitlines()
    execute(copied, search, "search", search=settings)
    assert table.read_text().splitlines()[: len(lines)] == lines


def test_same_seed_same_bytes(copied):
    path = copied / "artifacts/candidate/d2/generator.safetensors"
    before = path.read_bytes()
    execute(copied, candidate, "candidate", "d2")
    assert path.read_bytes() == before
    execute(copied, candidate, "candidate", "d2", seed=2)
    assert path.read_bytes() != before


def test_checkpoints_are_gone_after_success(chain):
    assert list((chain / ".ganpress" / "checkpoints").iterdir()) == []


def test_checkpoint_is_named_after_all_that_decides(chain, monkeypatch):
    inputs = [chain / "artifacts/prepare/train.npy"]

    def identity_with(item="d2", files=inputs, **changes):
        return identity(Stage("candidate", item, chain, params_with(changes)), files)

    base = identity_with()
    assert identity_with() == base
    assert identity_with(report={"title": "another"}) == base
    others = [
        identity_with(seed=2),
        identity_with(item="d3"),
        identity_with(candidate={"training": {"batch_size": 32}}),
        identity_with(files=[chain / "artifacts/prepare/test_labels.npy"]),
    ]
    monkeypatch.setattr(torch, "__version__", "another")
    others.append(identity_with())
    monkeypatch.setattr(Stage, "code", "another")
    others.append(identity_with())
    assert len({base, *others}) == 7


def test_impossible_budget(copied):
    with pytest.raises(BudgetError, match=r"budget of 100 parameters: the cheapest one, 1, has 3,252 parameters"):
        execute(copied, search, "search", search={"max_parameters": 100})


def test_unknown_item_names_the_items(copied):
    with pytest.raises(ConfigError, match=r"candidate\.items has no 'd9'; items: d2, d3"):
        execute(copied, candidate, "candidate", "d9")


def test_missing_upstream_says_which_stage_makes_it(copied):
    (copied / "artifacts/teacher/generator.safetensors").unlink()
    with pytest.raises(DataError, match=r"teacher/generator\.safetensors is missing; run `dvc repro teacher`"):
        execute(copied, student, "student", "d1-mse")


def test_teacher_of_another_architecture(copied):
    shutil.copy(copied / "artifacts/judge/judge.safetensors", copied / "artifacts/teacher/generator.safetensors")
    with pytest.raises(
        CheckpointError, match="holds a 'classifier', but this data needs one of imported, wdcgan_generator"
    ):
        execute(copied, supernet, "supernet")


def test_a_teacher_within_its_limits_is_taken_and_one_beyond_is_refused(copied):
    out = execute(copied, teacher, "teacher", teacher={"min_recall": 0.0})
    facts = json.loads((out / "metrics.json").read_text())
    assert facts["fid_ratio"] > 1
    assert 0 <= facts["recall"] <= 1
    limits = {"max_fid_ratio": 1, "min_recall": 1}
    with pytest.raises(
        QualityGateFailed, match=r"FID is .* times that of real pictures.*; its recall is .* asks for 1"
    ):
        execute(copied, teacher, "teacher", teacher=limits)
    assert (out / "generator.safetensors").exists()


def test_each_discriminator_teaches_another_student(copied):
    heads = set()
    for way in ("inherited", "slowed", "fresh"):
        item = {"depth": 1, "loss": "joint", "gradient_ratio": 1.0}
        joint = {"adversarial": {"discriminator": way}, "items": {"d1-joint": item}}
        out = execute(copied, student, "student", "d1-joint", student=joint)
        generator, _ = load_model(out / "generator.safetensors")
        assert torch.isfinite(generator.head.weight).all()
        heads.add(generator.head.weight.detach().numpy().tobytes())
    assert len(heads) == 3


def test_a_conditional_student_gets_the_discriminator_that_it_asks_for(tmp_path):
    blueprint = Blueprint("patch_discriminator", {"in_channels": 2, "ndf": 2, "layers": 2})
    trained = blueprint.build()
    save_model(tmp_path / "artifacts" / "teacher" / "discriminator.safetensors", trained, blueprint)
    stage = Stage("student", "s", tmp_path, {"seed": 1})

    def opponent(way):
        training = read_yaml(CHECKOUT / "recipes" / "smoke_paired.yaml")["student"]["training"]
        return opponent_of(stage, FeatureDistillation.model_validate(training | {"discriminator": way}))

    def first(network):
        return next(network.parameters()).detach().numpy().tobytes()

    assert opponent("none") is None
    assert first(opponent("inherited")) == first(opponent("slowed")) == first(trained)
    assert first(opponent("fresh")) == first(opponent("fresh")) != first(trained)


def test_data_smaller_than_the_batch(copied):
    with pytest.raises(DataError, match="60 images are fewer than one batch of 64; lower batch_size"):
        execute(copied, control, "control", "d1", control={"training": {"batch_size": 64}})


def test_interrupted_search_and_training_leave_earlier_outputs(copied):
    before = (copied / "artifacts/teacher/generator.safetensors").read_bytes()
    with pytest.raises(BudgetError):
        execute(copied, search, "search", search={"max_parameters": 100})
    assert (copied / "artifacts/teacher/generator.safetensors").read_bytes() == before
    assert torch.is_tensor(load_model(copied / "artifacts/subnet/generator.safetensors")[0].head.weight)


@pytest.mark.parametrize("spec", ["wdcgan:2_1", "wdcgan:1_2"])
def test_discriminator_of_a_spec_is_as_wide_as_its_largest_number(copied, spec):
    out = execute(copied, control, "control", "narrow", control={"items": {"narrow": {"spec": spec}}})
    _, blueprint = load_model(out / "discriminator.safetensors")
    assert blueprint.arguments["depth"] == 2
