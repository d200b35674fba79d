"""What `run` would refuse, `run --dry-run` refuses: before the first stage, with one line."""

import shutil
from pathlib import Path

import pytest

from flows.preflight import check_environment, check_needs, prepare_ahead, prepared
from flows.run_request import read_request
from flows.worktree import Workspace
from ganpress.config.base import parse, read_yaml
from ganpress.config.params import Params, merge_overlay
from ganpress.errors import ConfigError
from ganpress.registries import TARGETS

ROOT = Path(__file__).resolve().parents[2]


def workspace(root, **changes):
    content = merge_overlay(read_yaml(ROOT / "params.yaml"), changes)
    return Workspace(root, root, None, parse(content, Params, "params.yaml"))


@pytest.fixture
def project(tmp_path):
    for name in ("dvc.yaml", "params.yaml", "data.dvc"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_default_has_all_it_needs(project):
    check_needs(workspace(project))


SQUEEZENET = {"kind": "squeezenet", "weights": "absent.pth"}


@pytest.mark.parametrize(
    ("changes", "stages", "message"),
    [
        ({"judge": SQUEEZENET}, {"judge"}, "judge.weights is '.*absent.pth', and there is no such file"),
        ({"evaluate": {"lpips_weights": "no.pt"}}, {"evaluate"}, "evaluate.lpips_weights is 'no.pt'"),
        ({"data": {"source": "nothing"}}, set(), "data source 'nothing' is unknown"),
        ({"data": {"source": "edges:scenes"}}, set(), "edges are made from plain images"),
        (
            {"candidate": {"imported": "imported/gone", "items": {"x": {"imported": True}}}},
            {"candidate@x"},
            "there is no imported generator; import it",
        ),
        (
            {
                "candidate": {"imported": "imported/gone", "items": {"x": {"imported": True}}},
                "student": {
                    "items": {"d4-mse": {"spec": "imported:50", "loss": "mse", "distances": {"squared": 1, "dime": 1}}}
                },
            },
            {"student@d4-mse"},
            r"student\.items\.d4-mse\.distances has dime, which need a trained discriminator; an imported",
        ),
    ],
)
def test_what_is_missing_is_said_first(project, changes, stages, message):
    with pytest.raises(ConfigError, match=message):
        check_needs(workspace(project, **changes), stages)


def test_a_stage_that_will_not_run_needs_nothing(project):
    check_needs(workspace(project, judge=SQUEEZENET), {"teacher"})


def test_a_runtime_that_is_not_installed_is_said_before_training(project, monkeypatch):
    monkeypatch.setattr(TARGETS["openvino"], "packages", ("a-package-that-nobody-has",))
    item = {"items": {"subnet": {"generator": "subnet", "target": "openvino"}}}
    with pytest.raises(ConfigError, match=r"export.items.subnet.target is 'openvino', .*uv sync --extra openvino"):
        check_needs(workspace(project, export=item), {"export@subnet"})
    check_needs(workspace(project, export=item), {"judge"})


def test_a_batch_that_ranks_cannot_share_is_said_before_the_first_stage(project, monkeypatch):
    monkeypatch.setenv("GANPRESS_DEVICE", "cpu")
    monkeypatch.setenv("GANPRESS_RANKS", "7")
    with pytest.raises(ConfigError, match="control.training.batch_size is 64, which 7 ranks cannot"):
        check_needs(workspace(project), {"judge", "control@d2"})
    check_needs(workspace(project), {"judge", "teacher"})  # which no ranks share


@pytest.mark.parametrize(("name", "value"), [("GANPRESS_THREADS", "many"), ("GANPRESS_THREADS", "9" * 5000),
    ("GANPRESS_THREADS", "-1"), ("GANPRESS_THREADS", ""), ("GANPRESS_TRACKING", "yes"),
    ("GANPRESS_RANKS", "0"), ("GANPRESS_GPUS", "many"),
    ("GANPRESS_CHECKPOINTS", __file__)])  # fmt: skip
def test_variables_are_checked_first(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        check_environment()


@pytest.mark.parametrize("name", ["d2; touch PWNED #", "$(touch PWNED)", "size", "../x", "a b", "x" * 300, ""])
def test_no_stage_starts_beside_a_wrong_name(name, tmp_path, forked):
    text = (ROOT / "params.yaml").read_text().replace("    d2: {depth: 2}", f"    '{name}': {{depth: 2}}")
    (tmp_path / "params.yaml").write_text(text)
    for module in ("tasks.validate", "tasks.teacher"):
        ended = forked(tmp_path, module)
        assert ended.returncode == 2
        assert "control.items has" in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_what_was_checked_ahead_is_used_once_and_only_for_the_same_run(done):
    request = read_request(stages=["many"])
    prepare_ahead(done.root, request)
    (done.root / "many.py").write_text("FACTOR = 3\n")
    ahead, now = prepared(done.root, request), prepared(done.root, request)
    assert (ahead.graph["many@a"].need, now.graph["many@a"].need) == ("clean", "run")
    prepare_ahead(done.root, request)
    assert prepared(done.root, read_request(stages=["first"])).chosen == ("first",)
