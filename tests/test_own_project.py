"""A project of the user's own, from the built package in an environment without a clone: init, stages, upgrade."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import project_files
from flows.project_files import STAMP, commit, make_project, upgrade_project
from ganpress.config.base import read_yaml
from ganpress.config.params import load_params
from ganpress.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[1]
IN_THE_WAY = ("models", "tasks", "flows", "data_tools", "ganpress_tools")
BREAKS = "raise SystemExit('the wrong module was imported')\n"
DCGAN = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Unflatten(1, (24, 1, 1)), nn.ConvTranspose2d(24, 16, 4, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),
    )
"""


@dataclass(frozen=True)
class Installed:
    """An environment that holds the built wheel, and the dependencies of this one."""

    bin: Path

    def run(self, *command: str, cwd: Path, code: int = 0, **variables: str) -> str:
        """Run one of its programs; returns what it printed."""
        of_the_tests = ("PYTHONPATH", "GANPRESS_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(of_the_tests)}
        environment |= {"PATH": os.pathsep.join([str(self.bin), os.environ["PATH"]]), **variables}
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True
        )
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = folder.glob("ganpress-*.whl")
    venv.create(folder / "env", with_pip=True)
    home = Installed(folder / "env" / "bin")
    home.run("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=folder)
    place = sysconfig.get_path("purelib", vars={"base": str(folder / "env"), "platbase": str(folder / "env")})
    (Path(place) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.copy2(Path(sys.executable).with_name("dvc"), home.bin / "dvc")
    (home.bin / "dvc").write_text(f"#!{home.bin / 'python'}\nfrom dvc.cli import main\nraise SystemExit(main())\n")
    return home


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def litter(folder: Path) -> None:
    """Modules of the user's under names of ours, which nothing may import."""
    for name in IN_THE_WAY:
        (folder / f"{name}.py").write_text(BREAKS)
    for name in ("models", "tasks"):
        (folder / f"{name}.py").unlink()
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(BREAKS)


@pytest.mark.slow  # a minute of CPU: the package is built, installed, and runs a dozen processes
def test_a_project_works_without_a_clone_whatever_the_users_modules_are_called(installed, pictures, tmp_path):
    (tmp_path / "gen.py").write_text(DCGAN)
    said = installed.run(
        "ganpress", "init", "mine", "--data", "folder:pictures", "--generator", "gen.py:build",
        "--example-input", "1x24", cwd=tmp_path,
    )  # fmt: skip
    project = tmp_path / "mine"
    assert "a ganpress project, in a new git repository" in said
    assert "imported/" in said
    left = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True, check=True)
    assert left.stdout == ""  # everything that a clone needs is committed
    litter(project)
    params = load_params(project / "params.yaml")
    assert (params.prepare.image_size, params.prepare.latent) == (16, 24)
    assert params.data.source == f"folder:{pictures}"
    assert list(params.candidate.items) == ["mine"]
    log = subprocess.run(["git", "log", "--oneline"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert len(log.splitlines()) == 2
    installed.run("ganpress", "-C", "mine", "run", "--stage", "validate", cwd=tmp_path, GANPRESS_TRACKING="off")
    assert (project / "artifacts" / "validate" / "validation.json").is_file()
    assert not list(installed.bin.parent.rglob(".ganpress"))


def tutorial() -> list[str]:
    """The commands of docs/tutorial.md, in order."""
    lines = (CHECKOUT / "docs" / "tutorial.md").read_text().splitlines()
    return [line.strip() for line in lines if line.startswith(("    ganpress ", "    cd ", "    dvc "))]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_works_word_for_word_in_an_empty_folder(installed, tmp_path):
    place, said = tmp_path, {}
    for number, line in enumerate(tutorial()):
        command = shlex.split(line)
        if command[0] == "cd":
            place = place / command[1]
            litter(place)
            continue
        said[number, line] = installed.run(*command, cwd=place)
    outputs = list(said.values())
    runs = [words for (_, line), words in said.items() if line == "ganpress run --recipe smoke"]
    assert len(outputs) >= 10
    assert [bool(re.search(r" stages: (.*, )?\d+ ran", words)) for words in runs] == [True, False]
    assert not list(installed.bin.parent.rglob(".ganpress"))
    assert (place / "artifacts" / "prepare" / "train.npy").is_file()
    assert "recipe" in installed.run("ganpress", "run", "--dry-run", "--recipe", "nowhere", cwd=place, code=2)


def test_what_is_there_is_not_written_over_and_a_repository_around_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "params.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=r"params\.yaml already, and no file is overwritten"):
        make_project(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["params.yaml"]
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    with pytest.raises(ConfigError, match="lies inside the git repository"):
        make_project(tmp_path / "inside")
    assert not (tmp_path / "inside").exists()
    (tmp_path / "full" / "params.yaml").unlink()
    with pytest.raises(ConfigError, match="lies inside"):
        make_project(tmp_path / "full")


def test_files_that_did_not_change_are_not_committed(tmp_path):
    """As after `ganpress init`, whose digits need the settings that it has just written."""
    make_project(tmp_path / "mine")
    commits = ["git", "rev-list", "--count", "HEAD"]
    for text, expected in ((None, b"1"), ("seed: 5\n", b"2"), (None, b"2")):
        if text:
            (tmp_path / "mine" / "params.yaml").write_text(text)
        commit(tmp_path / "mine", "Settings", "params.yaml", "absent.yaml")
        assert subprocess.check_output(commits, cwd=tmp_path / "mine").strip() == expected


def test_upgrade_replaces_what_is_ours_and_keeps_what_the_user_edited(tmp_path, monkeypatch):
    project = tmp_path / "mine"
    make_project(project)
    assert upgrade_project(project) == []
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# mine\n")
    (project / "README.md").write_text("mine\n")
    (project / "prefect.yaml").unlink()
    newer = project_files.project_files() | {"README.md": "theirs\n", "dvc.yaml": "stages: {}\n"}
    monkeypatch.setattr(project_files, "project_files", lambda: newer)
    monkeypatch.setattr(project_files, "installed", lambda: "9.9")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    planned = upgrade_project(project, dry_run=True)
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    made = upgrade_project(project)
    assert made == planned
    words = {change.path: change.words for change in made}
    assert words == {
        "README.md": "was edited by you and is kept; the new version is README.md.new",
        "dvc.yaml": "replaced",
        "prefect.yaml": "written",
    }
    assert (project / "README.md").read_text() == "mine\n"
    assert (project / "README.md.new").read_text() == "theirs\n"
    assert (project / "params.yaml").read_text().endswith("# mine\n")
    assert read_yaml(project / STAMP)["version"] == "9.9"
    (project / "README.md").write_text("theirs\n")  # the user has taken the new one
    assert [change.path for change in upgrade_project(project)] == ["README.md.new"]
    assert not (project / "README.md.new").exists()
    (project / STAMP).unlink()
    with pytest.raises(ConfigError, match="was not made by `ganpress init`"):
        upgrade_project(project)
