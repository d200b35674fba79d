"""`ganpress doctor`: each finding says what to do."""

import json
import os
import socket
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows import checkup
from flows.__main__ import app
from flows.checkup import Finding

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a stage whose import dvc.yaml does not name; no git, no DVC, no data."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "ganpress").mkdir()
    (tmp_path / "tasks/one.py").write_text("import ganpress.work\n")
    (tmp_path / "ganpress/work.py").write_text("")
    stage = {"cmd": "python -m tasks.one", "deps": ["tasks/one.py"], "outs": ["artifacts/one"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}))
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "ganpress"\ndependencies = ["numpy>=2", "typer<0.1", "no-such-thing"]\n'
    )
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_HOME", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    # What the command exports must not reach the tests after this one.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return tmp_path


def _words(findings, state):
    return " | ".join(finding.words for finding in findings if finding.state == state)


def test_all_is_well_with_the_packages_and_the_layout_of_this_project():
    findings = [*checkup.check_python(ROOT), *checkup.check_packages(ROOT), *checkup.check_shadowing(ROOT)]
    assert [finding.state for finding in findings] == ["ok"] * 3, findings


def test_pins_that_do_not_hold_are_named(project):
    words = _words(checkup.check_packages(project), "error")
    assert "no-such-thing is not installed (needs any version)" in words
    assert "pinned <0.1; run `uv sync`" in words
    assert "numpy" not in words


def test_missing_stores_say_how_to_make_them(project):
    assert "run `dvc init`" in _words(checkup.check_dvc(project), "error")
    assert "`ganpress data add digits`" in _words(checkup.check_data(project), "error")
    (project / "data.dvc").write_text("outs: []\n")
    assert "data/ is missing: `dvc checkout`" in _words(checkup.check_data(project), "error")
    assert "no commit" in _words(checkup.check_git(project), "warn")


def test_a_full_disk(project, monkeypatch):
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 2**20})())
    assert "1 MiB free; `dvc gc --workspace`" in _words(checkup.check_disk(project), "error")


def test_a_file_that_hides_mlflow(project):
    (project / "mlflow").mkdir()
    (project / "mlflow/helper.py").write_text("")
    assert "hides the library of that name; move mlflow/helper.py" in _words(checkup.check_shadowing(project), "error")


def test_a_taken_port(project, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(checkup, "PORTS", {port: "MLflow"})
        assert f"{port} (MLflow): Address already in use" in _words(checkup.check_ports(project), "warn")


def test_a_server_that_does_not_answer(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "does not answer" in _words(checkup.check_stores(project), "error")


def test_a_check_that_breaks_down_is_a_finding(project, monkeypatch):
    def breaks_down(_path):
        raise RuntimeError("no disk")

    monkeypatch.setattr(checkup.shutil, "disk_usage", breaks_down)
    found = {finding.check: finding for finding in checkup.check_everything(project)}
    assert (found["disk"].state, found["disk"].words) == ("error", "RuntimeError: no disk")


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warn", 0), ("error", 2)])
def test_exit_code(project, monkeypatch, state, code):
    monkeypatch.setattr(checkup, "check_everything", lambda _root: [Finding("x", state, "words")])
    assert CliRunner().invoke(app, ["doctor"]).exit_code == code
    ended = CliRunner().invoke(app, ["doctor", "--json"])
    assert ended.exit_code == code
    finding = {"check": "x", "state": state, "words": "words", "command": ""}
    assert json.loads(ended.stdout) == {"findings": [finding], "to_fix": int(state == "error")}
