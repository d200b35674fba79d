"""data/ and data.dvc follow the data section, in a project of their own with a real DVC."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from flows.__main__ import app, main
from flows.data_source import ensure_data, read_pin
from ganpress.config.data_section import DataConfig
from ganpress.data.raw.dataset_card import read_card
from ganpress.errors import ConfigError, DataError

FACES, CATS = DataConfig(source="folder:faces"), DataConfig(source="folder:cats")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project in git whose data/ has been made from `faces`, one of two folders of images in it."""
    root = tmp_path_factory.mktemp("made") / "project"
    root.mkdir()
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    for name, seed in (("faces", 0), ("cats", 1)):
        (root / name).mkdir()
        random = np.random.default_rng(seed)
        for number in range(3):
            Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(root / name / f"{number}.png")
    ensure_data(root, FACES)
    return root


@pytest.fixture
def project(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "project"))


def test_missing_data_is_made_and_pinned_and_then_left_alone(project):
    assert read_card(project / "data").source == "folder:faces"
    pin = read_pin(project)
    assert pin.md5.endswith(".dir")
    assert pin.source == "folder:faces"
    shutil.rmtree(project / "faces")  # a second import would fail
    times = {path: path.stat().st_mtime_ns for path in [project / "data.dvc", *(project / "data").iterdir()]}
    ensure_data(project, FACES)
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_deleted_data_comes_back_from_dvcs_cache(project):
    shutil.rmtree(project / "faces")
    content = (project / "data" / "images.zip").read_bytes()
    shutil.rmtree(project / "data")
    ensure_data(project, FACES)
    assert (project / "data" / "images.zip").read_bytes() == content


def test_data_that_somebody_added_are_replaced_only_when_asked(project):
    former = (project / "data.dvc").read_text()
    expected = r"data/ holds folder:faces, but params\.yaml asks for folder:cats; nothing was replaced\. To run on the "
    with pytest.raises(
        DataError, match=expected + r"present data, set data\.source to folder:faces; to replace it run `ganpress "
    ):
        ensure_data(project, CATS)
    assert (project / "data.dvc").read_text() == former
    assert read_card(project / "data").source == "folder:faces"
    (project / "data.dvc").unlink()  # added, and never pinned
    with pytest.raises(DataError, match="data/ holds folder:faces"):
        ensure_data(project, DataConfig(source="digits"))


def test_data_that_ship_with_a_dependency_are_replaced(project):
    shutil.rmtree(project / "data")
    (project / "data.dvc").unlink()
    ensure_data(project, DataConfig(source="edges:digits"))
    ensure_data(project, CATS)
    assert read_pin(project).source == "folder:cats"


def test_another_source_replaces_data_and_pin(project):
    former = read_pin(project)
    ensure_data(project, CATS, replace=True)
    assert read_card(project / "data").source == "folder:cats"
    pin = read_pin(project)
    assert (pin.source, pin.md5 != former.md5) == ("folder:cats", True)


def test_other_bytes_than_pinned_are_refused_and_nothing_stays_of_them(project):
    pinned = (project / "data.dvc").read_text()
    # As in a fresh clone: pinned, but neither data nor cache; and the source has changed since.
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".dvc" / "cache")
    (project / "faces" / "0.png").unlink()
    for _ in range(2):
        with pytest.raises(DataError, match=r"data\.dvc pins folder:faces with md5 .* importing it here gives .*\.dir"):
            ensure_data(project, FACES)
        assert not (project / "data").exists()
        assert (project / "data.dvc").read_text() == pinned


def test_pinning_again_keeps_what_the_user_wrote_into_data_dvc(project):
    content = yaml.safe_load((project / "data.dvc").read_text())
    content["meta"]["licence"] = "CC0"
    (project / "data.dvc").write_text(yaml.safe_dump(content))
    ensure_data(project, CATS, replace=True)
    assert yaml.safe_load((project / "data.dvc").read_text())["meta"] == {"source": "folder:cats", "licence": "CC0"}


def test_a_data_folder_of_the_users_own_is_never_replaced(project):
    (project / "data" / "dataset.json").unlink()
    (project / "data" / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match=r"was not written by ganpress \(it has no dataset\.json\); move it away"):
        ensure_data(project, FACES)
    assert (project / "data" / "precious.txt").read_text() == "mine"


def test_unknown_source_is_a_config_error_and_keeps_the_data(project):
    with pytest.raises(ConfigError, match="data source 'faces' is unknown"):
        ensure_data(project, DataConfig(source="faces"))
    assert read_card(project / "data").source == "folder:faces"


def test_damaged_pin_is_named(project):
    (project / "data.dvc").write_text("outs: []")
    with pytest.raises(DataError, match=r"data\.dvc is damaged"):
        ensure_data(project, FACES)


def test_data_in_place_costs_no_heavy_import(project):
    code = (
        "import sys\nfrom pathlib import Path\nfrom flows.data_source import ensure_data\n"
        "from ganpress.config.data_section import DataConfig\n"
        f"ensure_data(Path({str(project)!r}), DataConfig(source='folder:{project / 'faces'}'))\n"
        "print(sorted({'torch', 'torchvision', 'pandas', 'sklearn', 'dvc', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_command_line_adds_shows_and_says_what_is_next(project, monkeypatch):
    (project / "dvc.yaml").write_text("stages: {}\n")
    (project / "params.yaml").write_text("# mine\ndata:\n  source: digits  # as shipped\n  path: null\n\nseed: 1\n")
    monkeypatch.chdir(project / "faces")
    added = CliRunner().invoke(app, ["data", "add", "folder:../cats"])
    assert added.exit_code == 0, added.output
    assert "data/ holds 3 unsplit images of folder:cats, unlabelled" in added.output
    assert f"md5 {read_pin(project).md5} (new)" in added.output
    assert "params.yaml: data.source digits -> folder:cats" in added.output
    assert "next: commit data.dvc and params.yaml with git, then `ganpress run`" in added.output
    text = "# mine\ndata:\n  source: folder:cats # as shipped\n  path:\n\nseed: 1\n"
    assert (project / "params.yaml").read_text().replace("  #", " #").replace("path: null", "path:") == text
    ensure_data(project, CATS)  # what was added is what a run takes
    shown = CliRunner().invoke(app, ["data", "show"])
    assert "data.dvc pins folder:cats" in shown.output
    assert "data/ matches" in shown.output
    (project / "data" / "extra").touch()
    assert "data/ differs from this" in CliRunner().invoke(app, ["data", "show"]).output


def test_command_line_gives_one_line_for_a_bad_source(project, monkeypatch, capsys):
    (project / "dvc.yaml").write_text("stages: {}\n")
    (project / "params.yaml").write_text("data: {source: digits}\n")
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["ganpress", "data", "add", "folder:nowhere"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "nowhere does not exist" in lines[0]


def test_source_derived_from_a_folder_is_added_shown_and_then_left_alone(project, monkeypatch):
    (project / "dvc.yaml").write_text("stages: {}\n")
    (project / "params.yaml").write_text("data: {source: 'edges:folder:cats'}\n")
    monkeypatch.chdir(project / "faces")
    added = CliRunner().invoke(app, ["data", "add", "edges:folder:../cats"])
    assert added.exit_code == 0, added.output
    assert "data/ holds 3 unsplit images of edges:folder:cats, unlabelled, each with its source" in added.output
    assert "params.yaml: " not in added.output
    assert read_pin(project).source == "edges:folder:cats"
    before = (project / "data.dvc").stat().st_mtime_ns
    shutil.rmtree(project / "cats")  # a second import would fail
    for place in ("cats", str(project / "cats")):
        ensure_data(project, DataConfig(source=f"edges:folder:{place}"))
    assert (project / "data.dvc").stat().st_mtime_ns == before


@pytest.mark.slow
def test_deleted_data_comes_from_a_remote_where_there_is_one(project, tmp_path):
    for arguments in (["remote", "add", "--default", "store", str(tmp_path / "store")], ["push", "--quiet"]):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=project, check=True, capture_output=True)
    for folder in ("faces", "data", ".dvc/cache"):
        shutil.rmtree(project / folder)
    ensure_data(project, FACES)
    assert read_card(project / "data").source == "folder:faces"
