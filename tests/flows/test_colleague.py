"""A colleague's clone: what was committed and pushed is pulled, and nothing is executed again."""

import subprocess
from dataclasses import replace

import pytest


def git(root, *arguments):
    identity = ["-c", "user.name=toy", "-c", "user.email=toy@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def pushed(done, tmp_path):
    """The project after a whole run: dvc.lock is committed, and its outputs are pushed to a folder."""
    done.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    done.dvc("push", "--quiet", "--run-cache")
    git(done.root, "add", "dvc.lock", ".dvc/config")
    git(done.root, "commit", "--quiet", "-m", "a whole run")
    return done


@pytest.fixture
def colleague(pushed, tmp_path, monkeypatch):
    """A fresh clone, with no cache of its own."""
    root = tmp_path / "colleague"
    git(tmp_path, "clone", "--quiet", str(pushed.root), str(root))
    assert not (root / "artifacts").exists()
    monkeypatch.chdir(root)
    return replace(pushed, root=root)


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.slow  # a chain, a remote and two clones
def test_pulls_and_executes_nothing(pushed, colleague):
    colleague.dvc("pull", "--quiet")
    assert set(colleague.run().values()) == {"Cached"}
    colleague.dvc("repro", "--quiet")
    assert colleague.executed() == []
    for path in (pushed.root / "artifacts").rglob("out.txt"):
        assert (colleague.root / path.relative_to(pushed.root)).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.slow
def test_what_somebody_ran_with_other_parameters_comes_out_of_the_run_cache(pushed, colleague):
    pushed.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    pushed.dvc("repro", "--quiet")
    pushed.dvc("push", "--quiet", "--run-cache")
    assert "many/a" in pushed.executed()
    # The lock of that run was never committed: only its parameters are told.
    colleague.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    colleague.dvc("pull", "--quiet", "--run-cache")
    colleague.dvc("repro", "--quiet", "--pull")
    assert set(colleague.run().values()) == {"Cached"}
    assert colleague.executed() == []
