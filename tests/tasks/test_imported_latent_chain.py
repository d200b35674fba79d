"""A user's own generator of latents, of another length than ours, through the stages like any teacher."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from ganpress.config.base import parse, read_yaml
from ganpress.config.params import Params, merge_overlay
from ganpress.data.prepared.arrays import read_meta
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import load_model
from ganpress.imported.importing import ImportRequest, import_generator
from ganpress.tracking import StageRun
from models.imported_adapter import InputPart
from tasks import (
    candidate,
    compress,
    control,
    evaluate,
    export,
    judge,
    report,
    search,
    student,
    subnet,
    supernet,
    sweep,
    teacher,
)  # fmt: skip
from tasks.shared.stage import Stage

CHECKOUT = Path(__file__).resolve().parents[2]
LATENT = 24
DCGAN = f"""
from torch import nn


def build():
    return nn.Sequential(
        nn.ConvTranspose2d({LATENT}, 16, 4, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
    )
"""
CONDITIONAL = f"""
import torch
from torch import nn


class Conditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.classes, self.first = nn.Embedding(10, 4), nn.Linear({LATENT - 1} + 4, 16 * 16)
        self.body = nn.Sequential(
            nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
        )

    def forward(self, z, y):
        return self.body(self.first(torch.cat((z, self.classes(y)), 1)).view(-1, 16, 4, 4))


def build():
    return Conditional()
"""
REQUESTS = {
    "latents alone": (DCGAN, {"example": (1, LATENT, 1, 1)}),
    "with a class": (
        CONDITIONAL, {"inputs": (InputPart("z", (LATENT - 1,)), InputPart("y", (), "int64", 10))},
    ),
}  # fmt: skip
CHANGES = {
    "prepare": {"image_size": 16, "latent": LATENT},
    "judge": {"train_images": 640, "batch_size": 16, "min_accuracy": 0.0},
    "candidate": {"imported": "imported/dcgan", "items": {"mine": {"imported": True}}},
    "teacher": {"images": 40},
    "student": {
        "training": {"train_images": 160, "batch_size": 16},
        "items": {"half": {"spec": "imported:50", "loss": "mse"}, "joint": {"spec": "wdcgan:1", "loss": "joint"}},
    },
    "control": {"training": {"train_images": 160, "batch_size": 16}, "items": {"d1": {"depth": 1}}},
    "supernet": {"family": "imported", "widths": [[50, 100]], "training": {"train_images": 160, "batch_size": 16}},
    "search": {"images": 40, "calibration_images": 40, "max_parameters": 6000},
    "subnet": {"fine_tuning": {"train_images": 80, "batch_size": 16}},
    "compress": {
        "calibration_images": 16,
        "items": {"int8": {"generator": "subnet", "weight_bits": 8, "activation_bits": 8}},
    },
    "sweep": {"bits": [6], "images": 40},
    "evaluate": {"images": 40, "kid_subsets": 2, "kid_subset_size": 20},
    "export": {"verification_images": 8, "items": {"int8": {"generator": "compress/int8"}}},
}
ORDER = (
    (judge, "judge", None), (candidate, "candidate", "mine"), (teacher, "teacher", None), (student, "student", "half"),
    (student, "student", "joint"), (control, "control", "d1"), (supernet, "supernet", None), (search, "search", None),
    (subnet, "subnet", None), (compress, "compress", "int8"), (export, "export", "int8"), (sweep, "sweep", None),
    (evaluate, "evaluate", None), (report, "report", None),
)  # fmt: skip


def params_with(changes: dict) -> dict:
    smoke = merge_overlay(read_yaml(CHECKOUT / "params.yaml"), read_yaml(CHECKOUT / "recipes" / "smoke.yaml"))
    return merge_overlay(merge_overlay(smoke, CHANGES), changes)


def execute(root: Path, module, name: str, item: str | None = None, **changes) -> Path:
    stage = Stage(name, item, root, params_with(changes))
    shutil.rmtree(stage.out, ignore_errors=True)  # as DVC does
    stage.out.mkdir(parents=True)
    with contextlib.chdir(root):
        module.work(stage, StageRun(root, None, ""))
    return stage.out


def bring_in(root: Path, kind: str = "latents alone") -> None:
    code, options = REQUESTS[kind]
    module = f"{kind.split()[-1]}.py"  # of one process, which keeps what it has built by name
    (root / module).write_text(code)
    import_generator(root, ImportRequest(f"{module}:build", None, name="dcgan", **options))


@pytest.fixture(scope="module", params=list(REQUESTS))
def chain(request, tmp_path_factory, write_prepared):
    root = tmp_path_factory.mktemp("latent_chain")
    write_prepared(root / "artifacts")
    meta = read_meta(root / "artifacts" / "prepare")
    object.__setattr__(meta, "latent", LATENT)
    meta.save(root / "artifacts" / "prepare")
    (root / "params.yaml").write_text(yaml.safe_dump(params_with({})))
    bring_in(root, request.param)
    for module, name, item in ORDER:
        execute(root, module, name, item)
    return root


def test_the_parameters_of_the_chain_are_valid():
    assert parse(params_with({}), Params, "test").prepare.latent == LATENT


@pytest.mark.slow
def test_every_generator_reads_the_users_latents(chain, monkeypatch):
    monkeypatch.chdir(chain)
    z = torch.randn(3, LATENT)
    sizes = {}
    for reference in ("teacher", "student/half", "student/joint", "control/d1", "subnet", "compress/int8"):
        generator, _ = load_model(chain / "artifacts" / reference / "generator.safetensors")
        sizes[reference] = sum(one.numel() for one in generator.parameters())
        with torch.no_grad():
            assert generator(z).shape == (3, 1, 16, 16)
    assert sizes["student/half"] < 0.6 * sizes["teacher"]
    best = json.loads((chain / "artifacts/search/best.json").read_text())
    assert sizes["subnet"] == best["parameters"] <= 6000 < sizes["teacher"]


@pytest.mark.slow
def test_the_edge_file_is_proven(chain):
    card = json.loads((chain / "artifacts/export/int8/card.json").read_text())
    assert card["number_type"] == "w8a8"
    assert card["inputs"][0]["shape"] == ["batch", LATENT]
    assert card["verification"]["snr_db"] is None or card["verification"]["snr_db"] > 15


@pytest.mark.slow
def test_every_generator_is_measured_and_reported(chain):
    metrics = json.loads((chain / "artifacts/evaluate/metrics.json").read_text())
    measured = {"teacher", "student/half", "student/joint", "control/d1", "subnet", "compress/int8", "export/int8"}
    assert measured <= set(metrics)
    assert metrics["teacher"]["fid_retained"] == 1
    assert "imported" in (chain / "artifacts/report/report.html").read_text()


def test_latents_of_another_length_are_refused_with_the_key(tmp_path, write_prepared):
    write_prepared(tmp_path / "artifacts")
    bring_in(tmp_path)
    with pytest.raises(
        ConfigError, match=f"reads latents of {LATENT} numbers, but prepare.latent is 100; set prepare.latent to"
    ):
        execute(tmp_path, candidate, "candidate", "mine")
