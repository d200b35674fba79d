"""The files by which ganpress runs in containers and as a service, checked by linters; none is built here."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["Dockerfile", ".devcontainer/Dockerfile"])
def test_hadolint_finds_nothing(name):
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("no hadolint: uv sync --group dev")
    linted = subprocess.run([program, ROOT / name], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


def test_the_image_installs_what_the_lock_says_and_starts_the_command():
    lines = (ROOT / "Dockerfile").read_text()
    assert "uv sync --locked --no-dev" in lines
    assert 'ENTRYPOINT ["ganpress"]' in lines
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"artifacts", "data", ".venv", ".ganpress", ".prefect"} <= set(ignored)  # secrets and results stay outside


def test_the_devcontainer_installs_as_the_readme_says():
    content = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert (ROOT / ".devcontainer" / content["build"]["dockerfile"]).is_file()
    assert re.match(r"python3 -m pip install uv && python3 -m uv ", content["postCreateCommand"])


def test_systemd_takes_the_unit():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze")
    unit = ROOT / "docs" / "deploy" / "ganpress.service"
    checked = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True)
    assert not [line for line in checked.stderr.splitlines() if unit.name in line], checked.stderr
    assert checked.returncode == 0, checked.stderr
