"""`ganpress targets`: which targets are installed, and how to install the others."""

import json

import pytest
from typer.testing import CliRunner

from flows.__main__ import app
from ganpress.edge.targets import target
from ganpress.registries import TARGETS

NOTHING_INSTALLED = {
    "onnx": "uv sync",
    "openvino": "uv sync --extra openvino",
    "executorch": "uv sync --extra executorch",
    "executorch_vulkan": "uv sync --extra executorch",
    "executorch_coreml": "uv sync --extra executorch --extra coreml",
    "c": "apt-get install gcc",
    "qnn": "uv sync",
    "mnn": "uv sync --extra mnn",
    "ncnn": "uv sync --extra ncnn",
    "coreml": "uv sync --extra coreml",
    "litert": "uv sync --extra litert",
    "tensorrt": "uv sync",
    "webgpu": "uv sync",
}


def test_installed_targets_come_with_their_version():
    ended = CliRunner().invoke(app, ["targets", "--json"])
    assert ended.exit_code == 0, ended.output
    rows = json.loads(ended.stdout)
    assert rows.keys() == TARGETS.keys()
    assert rows["onnx"]["file"] == ".onnx"
    assert rows["onnx"]["runtime"].startswith("onnxruntime ")
    for name, row in rows.items():
        assert row["number_types"] == list(TARGETS[name].number_types)
        assert (row["runtime"] is None) == (row["install"] is not None)


@pytest.mark.parametrize("as_json", [False, True])
def test_absent_targets_come_with_the_command_that_installs_them(monkeypatch, as_json):
    monkeypatch.setattr(target.importlib.metadata, "distributions", lambda **_: [])
    monkeypatch.setattr(target.shutil, "which", lambda _: None)
    ended = CliRunner().invoke(app, ["targets", *(["--json"] if as_json else [])])
    assert ended.exit_code == 0, ended.output
    if as_json:
        assert {name: row["install"] for name, row in json.loads(ended.stdout).items()} == NOTHING_INSTALLED
        return
    lines = ended.stdout.splitlines()
    assert len(lines) == len(TARGETS)
    for line, (name, command) in zip(lines, NOTHING_INSTALLED.items(), strict=True):
        assert line.startswith(name)
        assert line.endswith(f"not installed; run `{command}`")
