"""Workspaces of runs with other parameters."""

import subprocess

import pytest
import yaml

from flows.environment import main_root
from flows.worktree import find_recipe, find_workspace, make_workspace
from ganpress.errors import ConfigError


def test_without_options_the_workspace_is_the_checkout(toy):
    workspace = make_workspace(toy.root)
    assert workspace.root == workspace.main == toy.root
    assert not workspace.isolated
    assert not (toy.root / ".ganpress").exists()


def test_worktree_has_its_own_params_and_the_shared_cache(toy):
    before = (toy.root / "params.yaml").read_bytes()
    workspace = make_workspace(toy.root, "small", ["seed=7", "report.title='a: b'"])
    params = yaml.safe_load((workspace.root / "params.yaml").read_text())
    assert (params["teacher"]["images"], params["seed"], params["report"]["title"]) == (500, 7, "a: b")
    assert params["judge"] == yaml.safe_load(before)["judge"]
    assert (toy.root / "params.yaml").read_bytes() == before
    assert str(toy.root / ".dvc" / "cache") in (workspace.root / ".dvc" / "config.local").read_text()
    assert main_root(workspace.root) == toy.root
    status = subprocess.run(["git", "status", "--porcelain"], cwd=toy.root, capture_output=True, text=True)
    assert status.stdout == ""


def test_same_parameters_find_the_same_folder_whatever_their_way(toy):
    one = find_workspace(toy.root, "small").root
    assert find_workspace(toy.root, None, ["teacher.images=500"]).root == one
    assert find_workspace(toy.root, str(toy.root / "recipes" / "small.yaml")).root == one
    assert find_workspace(toy.root, None, ["teacher.images=501"]).root != one


def test_uncommitted_changes_come_along_each_time(toy):
    toy.edit("many.py", "2", "3")
    (toy.root / "new.py").write_text("NEW = 1\n")
    root = make_workspace(toy.root, "small").root
    assert (root / "many.py").read_text() == "FACTOR = 3\n"
    assert (root / "new.py").exists()
    toy.edit("many.py", "3", "4")
    (toy.root / "new.py").unlink()
    (toy.root / "raw.txt").unlink()
    make_workspace(toy.root, "small")
    assert (root / "many.py").read_text() == "FACTOR = 4\n"
    assert not (root / "new.py").exists()
    assert not (root / "raw.txt").exists()


def test_deleted_or_half_made_worktree_is_made_again(toy):
    root = make_workspace(toy.root, "small").root
    subprocess.run(["rm", "-r", str(root)], check=True)
    root.mkdir()
    (root / "left").touch()
    assert make_workspace(toy.root, "small").root == root
    assert (root / "step.py").exists()
    assert not (root / "left").exists()


def test_relative_paths_mean_the_checkout(toy):
    workspace = find_workspace(
        toy.root, None, ["data.path=../sets/mnist", "judge.weights=w.pt", "judge.kind=inception"]
    )
    assert workspace.data.path == f"{toy.root}/../sets/mnist"
    assert workspace.params.judge.weights == f"{toy.root}/w.pt"
    folder = find_workspace(toy.root, None, ["data.source='folder:pictures'"])
    assert folder.data.source == f"folder:{toy.root}/pictures"
    assert find_workspace(toy.root).data == find_workspace(toy.root).params.data


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("teacher.images", "write section.key=value"),
        ("=5", "write section.key=value"),
        ("teacher..images=5", "write section.key=value"),
        ("teacher.images=[", "the value is not YAML"),
        ("teacher.images.more=5", "'more' cannot be set below the value 1000"),
        (
            "teacher.pictures=5",
            r"unknown key 'teacher.pictures' \(allowed here: images, max_fid_ratio, metric, min_recall\)",
        ),
        ("teacher.images=0", r"--set teacher.images=0: 'teacher.images' is 0"),
    ],
)
def test_wrong_setting(toy, setting, message):
    with pytest.raises(ConfigError, match=message):
        find_workspace(toy.root, None, [setting])


def test_items_of_a_recipe_replace_the_base(toy):
    (toy.root / "recipes" / "one.yaml").write_text("control:\n  items:\n    d3: {depth: 3}\n")
    assert list(find_workspace(toy.root, "one").params.control.items) == ["d3"]


def test_unknown_recipe(toy):
    with pytest.raises(
        ConfigError, match=r"no recipe 'big'; name one of recipes/ \(celeba_paper, .*, small, .*\) or a YAML file"
    ):
        find_recipe(toy.root, "big")


def test_project_outside_git(toy):
    subprocess.run(["rm", "-rf", str(toy.root / ".git")], check=True)
    with pytest.raises(ConfigError, match="run in a git worktree, and `git worktree` failed"):
        make_workspace(toy.root, "small")
