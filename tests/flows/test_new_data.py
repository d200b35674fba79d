"""Schedules that run only for new data: of a folder, of an import, of a branch; with real git and DVC."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from flows.data_source import add_data, read_pin
from flows.new_data import SETTLE_S, check_place, fetch_new
from ganpress.config.data_section import DataConfig
from ganpress.errors import ConfigError, DataError

NOTHING = "no new version of the data"


def run(root, *command):
    environment = {**os.environ, "GIT_AUTHOR_NAME": "T", "GIT_AUTHOR_EMAIL": "t@e.org", "GIT_COMMITTER_NAME": "T"}
    environment |= {"GIT_COMMITTER_EMAIL": "t@e.org", "DVC_NO_ANALYTICS": "1"}
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)


def dvc(root, *arguments):
    run(root, sys.executable, "-m", "dvc", *arguments)


def draw(folder, number, value):
    """Write a picture whose time is long ago."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 255, (16, 16), np.uint8)
    path = folder / f"{number}.png"
    Image.fromarray(pixels).save(path)
    for one in (path, folder):
        os.utime(one, (time.time() - 2 * SETTLE_S,) * 2)


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    run(root, "git", "init", "-q", "-b", "main")
    dvc(root, "init", "-q")
    (root / "params.yaml").write_text(f"data: {{source: 'folder:{tmp_path}/pictures'}}\n")
    return root


def test_a_folder(project, tmp_path):
    folder = tmp_path / "pictures"
    for number in range(3):
        draw(folder, number, number)
    assert fetch_new(project, "source") is None
    first = read_pin(project).md5
    assert fetch_new(project, "source") == NOTHING
    draw(folder, 3, 3)
    assert fetch_new(project, "source") is None
    assert read_pin(project).md5 != first
    assert fetch_new(project, "source") == NOTHING
    (folder / "4.png").write_bytes(b"half a pic")
    assert fetch_new(project, "source") == "the data is still being written"


def test_a_source_that_cannot_be_watched(project):
    (project / "params.yaml").write_text("data: {source: digits}\n")
    with pytest.raises(ConfigError, match="data.source 'digits' names no folder or file"):
        fetch_new(project, "source")


@pytest.mark.slow
def test_an_import(project, tmp_path):
    made = tmp_path / "made"
    (made / "data").mkdir(parents=True)
    (made / "data" / "a.txt").write_text("one")
    dvc(project, "import-url", str(made / "data"), "data")
    assert fetch_new(project, "import") is None
    assert fetch_new(project, "import") == NOTHING
    (made / "data" / "a.txt").write_text("other")
    assert fetch_new(project, "import") is None
    assert (project / "data" / "a.txt").read_text() == "other"


@pytest.mark.slow
def test_a_branch_gives_its_data_and_no_code(project, tmp_path):
    draw(tmp_path / "pictures", 0, 0)
    add_data(project, DataConfig(source=f"folder:{tmp_path}/pictures"))
    dvc(project, "remote", "add", "-d", "store", str(tmp_path / "store"))
    (project / "code.py").write_text("one")
    run(project, "git", "add", "--all")
    run(project, "git", "commit", "-qm", "one")
    dvc(project, "push", "-q")
    colleague = tmp_path / "colleague"
    run(tmp_path, "git", "clone", "-q", str(project), str(colleague))
    run(colleague, "git", "checkout", "-qb", "pictures")
    run(project, "git", "remote", "add", "origin", str(colleague))
    assert fetch_new(project, "branch:origin/pictures") is None  # no run was started for this version yet
    assert fetch_new(project, "branch:origin/pictures") == NOTHING
    draw(tmp_path / "pictures", 1, 1)
    add_data(colleague, DataConfig(source=f"folder:{tmp_path}/pictures"))
    (colleague / "code.py").write_text("two")
    run(colleague, "git", "commit", "-qam", "two")
    former = (project / "data.dvc").read_bytes()
    with pytest.raises(DataError, match="`dvc pull data.dvc` failed"):  # nobody has pushed the data
        fetch_new(project, "branch:origin/pictures")
    assert (project / "data.dvc").read_bytes() == former
    dvc(colleague, "push", "-q")
    assert fetch_new(project, "branch:origin/pictures") is None
    assert read_pin(project).md5 == read_pin(colleague).md5
    assert (project / "code.py").read_text() == "one"
    with pytest.raises(DataError, match="of branch 'origin/nowhere' could not be fetched"):
        fetch_new(project, "branch:origin/nowhere")


@pytest.mark.parametrize("text", ["branch:", "branch:main", "branch:--upload-pack=x/y", "folder", ""])
def test_places_that_are_none(text):
    with pytest.raises(ConfigError, match="--on-new-data is"):
        check_place(text)
