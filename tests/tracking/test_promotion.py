"""`candidate`, `champion`, `previous`: moved by a rule or by hand, never by a cached run."""

import sys

import pytest

from flows.__main__ import main
from ganpress.errors import ConfigError, DataError
from ganpress.metrics.gate_verdict import VERDICT, read_verdict
from ganpress.metrics.version_score import Score
from ganpress.tracking.model_registry import register_edge_models
from ganpress.tracking.promotion import champion_of, judge, promote, roll_back, version_of
from ganpress.tracking.recorder import record_all

NAME, METRIC = "ganpress-edge", "is_10_judge"


@pytest.mark.parametrize(
    ("candidate", "champion", "promoted", "words"),
    [
        (Score("is_9_judge", 6.0, 0.1), None, True, "there was no champion"),
        (Score("is_9_judge", 6.4, 0.1), Score("is_9_judge", 6.3, 0.1), True, "promoted: is_9_judge 6.4 against"),
        (Score("is_9_judge", 6.26, 0.26), Score("is_9_judge", 6.33, 0.26), True, "± 0.26"),
        (Score("is_9_judge", 5.0, 0.26), Score("is_9_judge", 6.33, 0.26), False, "stays a candidate: is_9_judge 5"),
        (Score("fid_9_test_judge", 43.7, 1.0), Score("fid_9_test_judge", 41.7, 1.0), False, "stays a candidate"),
        (Score("fid_9_test_judge", 40.0, 1.0), Score("is_9_judge", 6.0, 0.1), False, "cannot be compared with"),
        (None, Score("is_9_judge", 6.0, 0.1), False, "has no score"),
    ],
)
def test_the_rule(candidate, champion, promoted, words):
    found = judge(candidate, champion)
    assert found[0] is promoted
    assert words in found[1]


def rows(small, large, width=0.1):
    spread = {f"{METRIC}_std": width}
    return {
        "export/small": {METRIC: small, "size_bytes": 900} | spread,
        "export/large": {METRIC: large, "size_bytes": 20_000} | spread,
    }


@pytest.fixture
def project(chain, tmp_path):
    """A project whose `export/small` is champion with 7.0."""
    return chain.copy(tmp_path / "copy")


def aliases(project):
    found = {alias: version_of(project.store, NAME, alias) for alias in ("candidate", "champion", "previous")}
    return {alias: version.tags["reference"] for alias, version in found.items() if version is not None}


def test_a_worse_candidate_does_not_take_the_place_of_the_champion(project):
    register_edge_models(project.root, rows(0.5, 5.0), None, project.store, evaluated=True)
    assert aliases(project) == {"candidate": "export/large", "champion": "export/small"}
    candidate = version_of(project.store, NAME, "candidate")
    assert candidate.tags["verdict"].startswith("stays a candidate: is_10_judge 5 against the champion's 7")


def test_a_better_one_does_and_the_former_is_previous(project):
    register_edge_models(project.root, rows(7.0, 8.0), None, project.store, evaluated=True)
    assert aliases(project) == {"candidate": "export/large", "champion": "export/large", "previous": "export/small"}


def test_a_failed_gate_keeps_a_better_one_from_it(project):
    project.judge("latency (allowed: at most 1 ms; found: export/large (2 ms))")
    record_all(project.root)
    assert aliases(project) == {"candidate": "export/small", "champion": "export/small"}
    register_edge_models(project.root, rows(7.0, 8.0), None, project.store, evaluated=True)
    assert aliases(project) == {"candidate": "export/large", "champion": "export/small"}
    verdict = version_of(project.store, NAME, "candidate").tags["verdict"]
    assert verdict.startswith("stays a candidate: 1 of 2 gates failed: latency (allowed")
    project.judge()
    record_all(project.root)  # the gates ran again, with other limits
    assert run_of(project, "gates").info.status == "FINISHED"


def run_of(project, name):
    return max((one for one in project.search() if one.info.run_name == name), key=lambda one: one.info.start_time)


def test_what_no_gate_has_judged_waits(project):
    (project.root / "artifacts/evaluate/metrics.json").write_text("{}")  # another evaluation than the verdict's
    register_edge_models(project.root, rows(7.0, 8.0), None, project.store, evaluated=True)
    assert aliases(project) == {"candidate": "export/large", "champion": "export/small"}
    assert "the stage gates has not run yet" in version_of(project.store, NAME, "candidate").tags["verdict"]


def test_a_damaged_verdict_is_said(project):
    (project.root / VERDICT).write_text("{")
    with pytest.raises(DataError, match="verdict.json is damaged .*; run `dvc repro report` again"):
        read_verdict(project.root)


def test_the_champion_that_gates_compare_with(project):
    champion = champion_of(project.root, NAME)
    assert (champion.reference, champion.score.value) == ("export/small", 7.0)
    assert champion_of(project.root, "ganpress-edge-none") is None


def test_a_cached_run_moves_nothing(project):
    before = aliases(project)
    assert register_edge_models(project.root, rows(7.0, 8.0), None, project.store, evaluated=False) is None
    assert aliases(project) == before


def test_by_hand_and_back(project):
    register_edge_models(project.root, rows(0.5, 5.0), None, project.store, evaluated=True)
    assert promote(project.store, NAME, project.root, None)[1] == "export/large"
    assert aliases(project)["previous"] == "export/small"
    assert "promoted by" in version_of(project.store, NAME, "champion").tags["verdict"]
    assert roll_back(project.store, NAME, project.root)[1] == "export/small"
    assert aliases(project) | {"candidate": ""} == {
        "candidate": "", "champion": "export/small", "previous": "export/large"
    }  # fmt: skip
    number = version_of(project.store, NAME, "previous").version
    assert promote(project.store, NAME, project.root, str(number))[1] == "export/large"
    assert promote(project.store, NAME, project.root, "export/small")[1] == "export/small"


def test_unknown_versions_are_one_line(project):
    with pytest.raises(ConfigError, match=r"has no version '99'; versions: .*\(export/small\)"):
        promote(project.store, NAME, project.root, "99")
    with pytest.raises(ConfigError, match="has no version 'previous' to go back to"):
        roll_back(project.store, NAME, project.root)
    with pytest.raises(ConfigError, match="ganpress-edge-none has no candidate yet"):
        promote(project.store, "ganpress-edge-none", project.root, None)


def test_the_command_line(project, monkeypatch, capsys):
    (project.root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(sys, "argv", ["ganpress", "promote", "export/large"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "(export/large) is the champion; models:/ganpress-edge@champion loads it" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["ganpress", "rollback"])
    with pytest.raises(SystemExit):
        main()
    assert "(export/small) is the champion again" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["ganpress", "promote", "nothing"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
