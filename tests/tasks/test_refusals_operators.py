"""Imported generators with an operator that a target cannot run: the process that DVC starts names it and its layer."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from ganpress.data.prepared.arrays import SPLITS
from ganpress.files.checkpoint import load_model, save_model
from ganpress.imported.importing import ImportRequest, import_generator

CHECKOUT = Path(__file__).resolve().parents[2]
NETWORKS = """
import torch
from torch import nn


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Determinant(nn.Module):
    def forward(self, x):
        return x * torch.linalg.det(x)[..., None, None]


class Network(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 3, 3, padding=1), head

    def forward(self, x):
        return torch.tanh(self.head(self.body(x)))


def bessel():
    return Network(Bessel())


def determinant():
    return Network(Determinant())
"""


@pytest.fixture
def project(tmp_path, write_pairs):
    """Root of a project with a module of the user's and data of 8 x 8 pixels."""
    (tmp_path / "users_networks.py").write_text(NETWORKS)
    zeros = np.zeros((4, 3, 8, 8), np.uint8)
    write_pairs(tmp_path / "artifacts" / "prepare", "zeros", dict.fromkeys(SPLITS, (zeros, zeros)))
    return tmp_path


def write_imported(root, factory, monkeypatch):
    """The teacher is the user's network as `ganpress import` writes it."""
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root)
    import_generator(root, ImportRequest(f"users_networks:{factory}", None, (1, 3, 8, 8)))
    model, blueprint = load_model(root / "imported" / "users_networks" / "generator.safetensors")
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            torch.nn.init.dirac_(layer.weight)
    save_model(root / "artifacts" / "teacher" / "generator.safetensors", model, blueprint)


def installed(target, *marks):
    return pytest.param(target, marks=[*marks, pytest.mark.needs_target(target)])


MESSAGES = {
    "onnx": (
        "bessel",
        "ImportedGenerator cannot be written as ONNX: "
        "the operator special_bessel_j0 of layer 'network.head' is not supported there",
    ),
    "openvino": (
        "determinant",
        "OpenVINO cannot run ImportedGenerator: the operator linalg_det of layer 'network.head'",
    ),
    "executorch": ("bessel", "ExecuTorch cannot run ImportedGenerator: the operator special_bessel_j0 of layer"),
}


@pytest.mark.parametrize(
    "target", ["onnx", installed("openvino", pytest.mark.slow), installed("executorch", pytest.mark.slow)]
)
def test_operator_is_named_with_its_layer(project, monkeypatch, target):
    factory, message = MESSAGES[target]
    write_imported(project, factory, monkeypatch)
    export = {
        "tolerance": 1e-3,
        "verification_images": 2,
        "items": {"edge": {"generator": "teacher", "target": target}},
    }
    (project / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "export": export}))
    former = project / "artifacts" / "export" / "edge"
    former.mkdir(parents=True)
    (former / "card.json").write_text("former")
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "GANPRESS_TRACKING": "off", "GANPRESS_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "tasks.export", "edge"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"export: {message}")
    assert {path.name: path.read_text() for path in former.iterdir()} == {"card.json": "former"}
