"""Several runs at once, a run beside `dvc repro`, folders that cannot be written, and a project that was moved."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ALL = ["aside", "first", "last", "many/a", "many/b"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_variable")
def test_two_runs_at_once_with_other_settings_do_not_meet(done):
    """Each gets its own workspace, makes what only it needs, and leaves the project as it was."""
    before = {name: (done.root / name).read_bytes() for name in ("params.yaml", "dvc.lock")}
    commands = [done.command("run", "--set", f"teacher.images={images}") for images in (600, 700)]
    runs = [
        subprocess.Popen(command, cwd=done.root, env=done.environment(), stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [run.communicate(timeout=240)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert done.executed() == sorted(["last", "many/a", "many/b"] * 2)
    made = {}
    for folder in (done.root / ".ganpress" / "worktrees").iterdir():
        if folder.is_dir():
            made[folder.name] = (folder / "artifacts" / "many" / "a" / "out.txt").read_text()
    assert sorted(text[6:9] for text in made.values()) == ["600", "700"]
    assert {name: (done.root / name).read_bytes() for name in before} == before


@pytest.mark.usefixtures("prefect_variable")
def test_a_run_beside_dvc_repro_ends_well_and_each_stage_runs_once(toy):
    """DVC's own command refuses a stage that the flow is at; the flow waits for one that DVC is at."""
    (toy.control / "hold").touch()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    repro = subprocess.Popen(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "repro"],
        cwd=toy.root,
        env={**toy.environment(), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not (toy.control / "log.txt").exists():
        assert repro.poll() is None
    flow = subprocess.Popen(toy.command("run"), cwd=toy.root, env=toy.environment(), stdout=subprocess.PIPE, text=True)
    (toy.control / "hold").unlink()
    said = [process.communicate(timeout=240)[0] for process in (repro, flow)]
    assert flow.returncode == 0, said
    if repro.returncode != 0:  # it met a stage that the flow was at; nothing is lost, and it is repeated
        assert "is busy" in said[0]
        toy.dvc("repro")
    assert toy.executed() == ALL
    assert toy.call("status").stdout.rstrip().endswith("5 stages: 5 up to date")


def as_nobody(folder: Path) -> list[str]:
    """Beginning of a command by a user who may read everything and write nowhere below `folder`."""
    tool = shutil.which("setpriv")
    if os.geteuid() != 0 or tool is None:
        pytest.skip("needs root and setpriv, to run a command as another user")
    prefix = [tool, "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*prefix, sys.executable, "-c", "import flows"], cwd="/", capture_output=True).returncode != 0:
        pytest.skip("another user cannot read this installation of ganpress")
    return prefix


@pytest.mark.parametrize("arguments", [["status"], ["run"], ["doctor"], ["compare"]])
def test_a_project_that_cannot_be_written(done, arguments):
    """One line names what cannot be written; nothing is a traceback, and nothing is changed."""
    prefix = as_nobody(done.root)
    for folder in (done.root, *done.root.parents):
        if folder.stat().st_uid == 0 and len(folder.parts) > 2:
            folder.chmod(0o755)
    before = {path: path.stat().st_mtime_ns for path in done.root.rglob("*")}
    environment = done.environment() | {"HOME": "/nonexistent", "DVC_SITE_CACHE_DIR": "/nonexistent/dvc"}
    ended = subprocess.run(
        [*prefix, *done.command(*arguments)], cwd=done.root, env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stdout + ended.stderr
    assert ended.returncode in (0, 2)
    if ended.returncode == 2 and arguments != ["doctor"]:
        assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert {path: path.stat().st_mtime_ns for path in done.root.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_variable")
@pytest.mark.parametrize("keep", [pytest.param(False, id="moved"), pytest.param(True, id="copied")])
def test_a_project_elsewhere_has_nothing_to_do_and_its_workspaces_are_its_own(done, tmp_path, monkeypatch, keep):
    assert done.call("run", "--set", "teacher.images=600").returncode == 0
    done.executed()
    place = tmp_path / "elsewhere"
    (shutil.copytree if keep else shutil.move)(str(done.root), str(place), **({"symlinks": True} if keep else {}))
    monkeypatch.chdir(place)
    environment = {name: value.replace(str(done.root), str(place)) for name, value in done.environment().items()}
    for arguments in (["run"], ["run", "--set", "teacher.images=600"]):
        ended = subprocess.run(done.command(*arguments), cwd=place, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    assert done.executed() == []
    (folder,) = [one for one in (place / ".ganpress" / "worktrees").iterdir() if one.is_dir()]
    assert str(place) in (folder / ".git").read_text()
    assert str(place) in (folder / ".dvc" / "config.local").read_text()
