"""The stages `validate` and `prepare` as DVC starts them: files in, files out, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ganpress.data.prepared.arrays import open_split
from tasks import prepare, validate

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path):
    """A project with forty images of two classes and thresholds that they meet."""
    random = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (10, 8), dtype=np.uint8)).save(path)
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text(encoding="utf-8"))
    params["validate"]["min_images"] = 40
    params["prepare"]["image_size"] = 16
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


@pytest.fixture
def run(run_stage, capsys):
    """(root, stage module) -> (exit code, lines on stderr)."""

    def execute(root, module):
        capsys.readouterr()
        code = run_stage(root, module)
        return code, capsys.readouterr().err.strip().splitlines()

    return execute


def test_good_data_passes_the_gate_and_becomes_arrays(project, run):
    assert run(project, validate)[0] == 0
    written = {path.name for path in (project / "artifacts/validate").iterdir()}
    assert written == {"manifest.csv", "metrics.json", "summary.html", "validation.json"}
    assert json.loads((project / "artifacts/validate/metrics.json").read_text())["images"] == 40
    assert run(project, prepare)[0] == 0
    assert open_split(project / "artifacts/prepare", "train").pixels.shape == (29, 1, 16, 16)


def test_failed_gate_exits_2_in_one_line_keeps_its_verdict_and_stops_prepare(project, run):
    (project / "data" / "a" / "00.png").write_bytes(b"no image")
    code, lines = run(project, validate)
    assert code == 2
    assert "decodes (allowed: every image can be read; found 1 of 40: a/00.png)" in lines[-1]
    assert "artifacts/validate/summary.html" in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert json.loads((project / "artifacts/validate/validation.json").read_text())["success"] is False
    assert "a/00.png" in (project / "artifacts/validate/summary.html").read_text()
    code, lines = run(project, prepare)
    assert code == 2
    assert lines[-1].startswith("prepare: the data gate failed (decodes)")


def test_missing_data_is_one_line(tmp_path, run):
    (tmp_path / "params.yaml").write_text((CHECKOUT / "params.yaml").read_text(encoding="utf-8"))
    code, lines = run(tmp_path, validate)
    assert code == 2
    assert len(lines) == 1
    assert "data does not exist; run `ganpress data add digits`" in lines[0]
