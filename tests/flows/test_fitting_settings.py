"""Settings that follow from the pictures, and conflicts that are reported before the first stage."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from flows.__main__ import app
from flows.data_fit import check_fit
from flows.data_source import read_pin
from flows.fitting_settings import fitting_settings, warnings
from ganpress.config.base import parse
from ganpress.config.params import Params
from ganpress.data.gate.survey import Survey
from ganpress.data.raw.dataset_card import DatasetCard
from ganpress.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
DIGITS = DatasetCard("digits", "idx", {"train": 1437, "test": 360}, list("0123456789"))
CARD = DatasetCard("folder:faces", "zip", {"unsplit": 1000})
FACES = Survey(CARD, 1000, (), (3,), 70, 60, 1.0, 0.0, 0.0, 0.0)


def faces(**changes):
    """A survey that differs from that of faces; `counts` and `classes` (how many) are of its card."""
    card = {"counts": changes.pop("counts", CARD.counts), "classes": [str(n) for n in range(changes.pop("classes", 0))]}
    return dataclasses.replace(FACES, card=dataclasses.replace(CARD, **card), **changes)


def by_key(of):
    return {one.key: one.value for one in fitting_settings(of, 0.2)}


def shipped():
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def value_of(content, key):
    for name in key.split("."):
        content = content[name]
    return content


def test_the_rules_give_the_shipped_settings_for_the_shipped_digits():
    meta = yaml.safe_load((ROOT / "data.dvc").read_text())["meta"]
    digits = Survey(DIGITS, 1797, (), (1,), 8, 8, 0.97, 0.0, 0.0, 0.0)
    fitting = by_key(digits)
    assert fitting == {key: value_of(shipped(), key) for key in fitting}
    assert meta["settings"] == fitting


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"judge.kind": "rotations", "judge.min_accuracy": 0.5, "teacher.metric": "fid", "prepare.image_size": 64}),
        ({"classes": 2}, {"judge.kind": "classifier", "judge.min_accuracy": 0.67, "teacher.metric": "fid"}),
        ({"classes": 10}, {"judge.min_accuracy": 0.4, "teacher.metric": "is"}),
        ({"side": 30}, {"prepare.image_size": 32, "search.max_parameters": 35000}),
        ({"side": 1024}, {"prepare.image_size": 64}),
        ({"counts": {"unsplit": 90}}, {"validate.min_images": 90, "evaluate.kid_subset_size": 4}),
        ({"counts": {"unsplit": 60}}, {"candidate.training.batch_size": 32, "judge.batch_size": 32}),
        ({"counts": {"train": 900, "test": 250}}, {"evaluate.kid_subset_size": 200}),
        ({"channels": (1, 3)}, {"validate.channels": [1, 3], "prepare.channels": 3}),
        ({"duplicates": 0.1234}, {"validate.max_duplicate_fraction": 0.124}),
        ({"duplicates": 0.5}, {"validate.max_duplicate_fraction": 0.01}),
        ({"classes": 3, "smallest_class_share": 0.2}, {"validate.min_class_share": 0.18}),
    ],
)
def test_what_follows_from_other_pictures(change, expected):
    fitting = by_key(faces(**change))
    assert {key: fitting[key] for key in expected} == expected


def test_every_fitting_setting_is_a_value_that_params_take():
    content = shipped()
    for change in (
        {},
        {"counts": {"unsplit": 3}},
        {"classes": 200, "side": 5},
        {"side": 0, "smallest_side": 0, "channels": ()},
        {"channels": (1, 3), "leaked": 0.03},
    ):
        fitting = by_key(faces(**change))
        for key, value in fitting.items():
            *sections, name = key.split(".")
            value_of(content, ".".join(sections))[name] = value
        params = parse(content, Params, "params.yaml")
        assert params.judge.kind == fitting["judge.kind"]
        assert list(params.validate_.channels) == fitting["validate.channels"]
        assert params.search.max_parameters == fitting["search.max_parameters"]


def test_a_person_is_warned():
    poor = faces(counts={"unsplit": 90}, unreadable=("x.png",), duplicates=0.5, leaked=0.5, flat=0.5)
    said = "\n".join(warnings(poor))
    for words in ("the data has 90 pictures", "x.png", "equal to another one", "of test also occur", "one grey level"):
        assert words in said
    assert not list(warnings(FACES))


@pytest.fixture
def project(tmp_path):
    """A project of its own in git, with a folder of 60 colour pictures in it."""
    for name in ("params.yaml", "dvc.yaml", "data.dvc"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    random = np.random.default_rng(0)
    (tmp_path / "pics").mkdir()
    for number in range(60):
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"pics/{number}.png")
    return tmp_path


def test_adding_writes_what_fits_and_keeps_what_the_user_has_set(project, monkeypatch):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("min_accuracy: 0.95", "min_accuracy: 0.3"))
    monkeypatch.chdir(project)
    added = CliRunner().invoke(app, ["data", "add", "folder:pics"])
    assert added.exit_code == 0, added.output
    content = yaml.safe_load(path.read_text())
    assert content["judge"]["kind"] == "rotations"
    assert content["judge"]["min_accuracy"] == 0.3
    assert content["validate"]["channels"] == [3]
    assert "0.3 is your value, 0.5 would fit" in added.output
    assert "warning: the data has 60 pictures" in added.output
    assert "# The default" in path.read_text()  # comments stay
    settings = read_pin(project).settings
    assert settings["teacher.metric"] == "fid"
    assert "judge.min_accuracy" not in settings
    again = CliRunner().invoke(app, ["data", "add", "digits"])
    assert again.exit_code == 0, again.output
    expected = shipped()
    expected["judge"]["min_accuracy"] = 0.3
    assert yaml.safe_load(path.read_text()) == expected


@pytest.mark.parametrize("values", ["a:b", "1", "1:1", "nan:1", "1:2:3", ""])
def test_a_bad_range_of_values_is_one_line(values, project, monkeypatch, capsys):
    from flows.__main__ import main

    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["ganpress", "data", "add", "folder:pics", "--values", values])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_shipped_parameters_fit_the_shipped_data_and_not_the_same_without_classes(tmp_path):
    params = parse(shipped(), Params, "x")
    check_fit(params, DIGITS, tmp_path)
    with pytest.raises(ConfigError, match="a setting does not fit the data .*the data has no classes: set 'rotations'"):
        check_fit(params, dataclasses.replace(DIGITS, classes=[]), tmp_path)


def test_all_conflicts_are_said_at_once_with_the_settings_to_change(tmp_path):
    card = DatasetCard("folder:pics", "zip", {"unsplit": 300})
    with pytest.raises(ConfigError) as caught:
        check_fit(parse(shipped(), Params, "x"), card, tmp_path)
    line = str(caught.value)
    assert "\n" not in line
    for key in ("judge.kind is 'classifier'", "validate.min_images is 500", "evaluate.kid_subset_size is 200"):
        assert key in line


def test_a_step_that_does_not_fit_into_memory_is_refused_before_the_first_stage(tmp_path, monkeypatch):
    content = shipped()
    content["prepare"] |= {"image_size": 64}
    content["candidate"]["training"]["batch_size"] = 512
    content["candidate"]["items"] = {"d8": {"depth": 8}}
    params, stages = parse(content, Params, "x"), {"candidate", "judge"}
    card = dataclasses.replace(DIGITS, counts={"train": 5000, "test": 500})
    check_fit(params, card, tmp_path, stages)
    monkeypatch.setattr("flows.memory_fit._room", lambda: 1024 * 2**20)
    with pytest.raises(
        ConfigError, match=r"a step of candidate needs 0\.\d GiB .* lower candidate.training.batch_size"
    ):
        check_fit(params, card, tmp_path, stages)
    check_fit(params, card, tmp_path, {"judge", "export"})  # what does not run needs nothing


def test_small_batches_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.memory_fit._room", lambda: 0)
    check_fit(parse(shipped(), Params, "x"), DIGITS, tmp_path, {"candidate", "student", "supernet"})


def test_too_few_images_for_three_splits(tmp_path):
    card = DatasetCard("folder:pics", "zip", {"unsplit": 4}, ["a", "b"])
    with pytest.raises(ConfigError, match="the data has 4 images, too few for a train, a validation and a test split"):
        check_fit(parse(shipped(), Params, "x"), card, tmp_path)


@pytest.mark.parametrize("pairing", ["paired", "unpaired", "semantic"])
def test_unconditional_training_does_not_take_data_with_sources(pairing, tmp_path):
    card = DatasetCard("pairs", "zip", {"train": 9000, "test": 900}, list("ab"), pairing=pairing)
    with pytest.raises(ConfigError, match=f"the data is {pairing}, and candidate.training names no framework"):
        check_fit(parse(shipped(), Params, "x"), card, tmp_path)
