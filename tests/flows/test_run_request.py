"""What a flow takes from a server: only checked parameters, and recipes from inside the project."""

import os

import pytest

from flows.pipeline import ganpress_pipeline
from flows.run_request import check_recipe_inside, read_request
from ganpress.errors import ConfigError

RIGHT = [
    {},
    {"stages": ["first", "many@a"], "force": True},
    {"from_stage": "many"},
    {"recipe": "small", "settings": ["teacher.images=500"]},
    {"jobs": 1, "stage_timeout_s": 0.5},
    {"jobs": 64, "stage_timeout_s": 10, "retries": 3},
    {"stages": [], "settings": []},
    {"recipe": "recipes/small.yaml"},
]
WRONG = [
    ({"stages": "first"}, "stages"),
    ({"stages": [1]}, "stages"),
    ({"stages": [""]}, "stages"),
    ({"stages": ["first"] * 1001}, "stages"),
    ({"stages": {"first": 1}}, "stages"),
    ({"stages": ["first"], "from_stage": "last"}, "cannot be used together"),
    ({"from_stage": ["first"]}, "from_stage"),
    ({"from_stage": "x" * 10_001}, "from_stage"),
    ({"force": "yes"}, "force"),
    ({"force": 1}, "force"),
    ({"force": None}, "force"),
    ({"recipe": 7}, "recipe"),
    ({"recipe": ""}, "recipe"),
    ({"recipe": ["small"]}, "recipe"),
    ({"settings": "teacher.images=5"}, "settings"),
    ({"settings": [{"teacher": 5}]}, "settings"),
    ({"settings": [None]}, "settings"),
    ({"jobs": "3"}, "jobs"),
    ({"jobs": 0}, "jobs"),
    ({"jobs": 65}, "jobs"),
    ({"jobs": 2.0}, "jobs"),
    ({"jobs": True}, "jobs"),
    ({"stage_timeout_s": 0}, "stage_timeout_s"),
    ({"stage_timeout_s": -1}, "stage_timeout_s"),
    ({"stage_timeout_s": float("nan")}, "stage_timeout_s"),
    ({"stage_timeout_s": float("inf")}, "stage_timeout_s"),
    ({"stage_timeout_s": "10"}, "stage_timeout_s"),
    ({"stage_timeout_s": True}, "stage_timeout_s"),
    ({"retries": -1}, "retries"),
    ({"retries": 1.0}, "retries"),
    ({"on_failure": "touch x"}, "on_failure"),
    ({"unknown": 1}, "unknown"),
    ({"from_stage": "a\0b"}, "from_stage"),
    ({"settings": ["a\nb"]}, "settings"),
]


@pytest.mark.parametrize("given", RIGHT, ids=str)
def test_right_parameters(given):
    assert read_request(**given).model_dump(exclude_unset=True) == given


@pytest.mark.parametrize(("given", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_parameters_are_one_line(given, named):
    with pytest.raises(ConfigError, match=named) as raised:
        read_request(**given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["absolute", "relative", "dotted name", "link", "link to a folder"])
def test_recipe_outside_of_the_project_is_the_users_own_only(toy, tmp_path, kind):
    (tmp_path / "mine.yaml").write_text("teacher: {images: 500}\n")
    (toy.root / "recipes" / "linked.yaml").symlink_to(tmp_path / "mine.yaml")
    (toy.root / "recipes" / "folder").symlink_to(tmp_path)
    recipe = {
        "absolute": str(tmp_path / "mine.yaml"),
        "relative": "../mine.yaml",
        "dotted name": "../../mine",
        "link": "linked",
        "link to a folder": "folder/mine",
    }[kind]
    assert read_request(recipe=recipe).recipe == recipe
    with pytest.raises(ConfigError, match="is outside the project"):
        check_recipe_inside(toy.root, recipe)


@pytest.mark.parametrize("recipe", ["none", "recipes", "/dev/null", "a\0b", "x" * 5000, "small\n"])
def test_recipe_that_is_none(toy, recipe):
    with pytest.raises(ConfigError, match="no recipe"):
        check_recipe_inside(toy.root, recipe)


def test_recipe_of_a_link_to_the_project(toy, tmp_path):
    (tmp_path / "link").symlink_to(toy.root)
    for recipe in ("small", str(toy.root / "recipes" / "small.yaml")):
        assert check_recipe_inside(tmp_path / "link", recipe) is None  # it would raise


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize("given", [{"jobs": "3"}, {"settings": ["teacher.images=-4"]}, {"stages": ["nope"]}], ids=str)
def test_flow_with_a_wrong_parameter_fails_in_one_line_and_starts_nothing(toy, given, monkeypatch):
    state = ganpress_pipeline(**given, return_state=True)
    assert (state.type.value, "\n" in state.message) == ("FAILED", False)
    with pytest.raises(ConfigError):
        state.result()
    assert toy.executed() == []
    assert not os.path.lexists(toy.root / ".ganpress" / "worktrees")
    assert not (toy.root / "data").exists()
