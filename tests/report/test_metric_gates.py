"""Limits on measured results: what each one accepts and refuses, where a failure is shown, and what it stops."""

import csv
import json

import pytest
import yaml

from ganpress.config.gates_section import GatesConfig
from ganpress.config.params import load_params
from ganpress.errors import ConfigError, DataError
from ganpress.evaluation.metric_gates import NO_FILE, Measurements, judge_results, sentences
from ganpress.metrics.evaluated import read_evaluated
from ganpress.metrics.gate_verdict import VERDICT, read_verdict
from ganpress.metrics.version_score import Champion, Score
from ganpress.tracking import StageRun
from tasks import gates, report
from tasks.shared.gate_inputs import judge_evaluation
from tasks.shared.stage import Stage

METRIC = "is_1000_judge"
TABLE = {
    "teacher": {METRIC: 8.0, "size_bytes": 900},
    "student/d2": {METRIC: 4.0, "size_bytes": 90},
    "student/d4": {METRIC: 7.2, "size_bytes": 90},
    "subnet": {METRIC: 6.4, "size_bytes": 90},
    "control/d2": {METRIC: 2.0, "size_bytes": 90},
    "export/d4": {METRIC: 7.2, f"{METRIC}_std": 0.1, "size_bytes": 90, "latency_ms_p50": 0.5},
    "export/subnet": {METRIC: 3.2, f"{METRIC}_std": 0.1, "size_bytes": 40, "latency_ms_p50": 0.1},
}
SOURCES = {"export/d4": "student/d4", "export/subnet": "subnet"}
CLASSES = {"export/d4": {"a": 10, "b": 10}, "export/subnet": {"a": 20, "b": 0}}
CHAMPION = Champion("3", "export/old", Score(METRIC, 7.5, 0.2))


def judged(config, table=TABLE, max_bytes=None, champion=CHAMPION):
    results = judge_results(GatesConfig(**config), Measurements(table, SOURCES, CLASSES, max_bytes, champion))
    return {one.name: one for one in results}


def test_without_limits_nothing_is_judged():
    assert judged({}) == {}
    assert not GatesConfig().has_limits


@pytest.mark.parametrize(
    ("limit", "name", "allowed", "refused", "found"),
    [
        ("min_student_share", "student_share", 0.5, 0.6, "student/d2 (0.5)"),
        ("min_shipped_share", "shipped_share", 0.9, 0.91, "export/d4 (0.9)"),
        ("min_file_share", "file_share", 0.5, 0.51, "export/subnet (0.5)"),
        ("min_class_share", "class_share", 0.0, 0.01, "class b of export/subnet (0)"),
        ("max_latency_ms", "latency", 0.5, 0.4, "export/d4 (0.5 ms)"),
    ],
)
def test_each_limit_at_its_edge(limit, name, allowed, refused, found):
    assert judged({limit: allowed})[name].success
    result = judged({limit: refused})[name]
    assert not result.success
    assert result.offenders == (found,)
    assert sentences([result]) == [f"{name} (allowed: {result.limit}; found: {found})"]


def test_controls_are_no_students():
    assert judged({"min_student_share": 0.5})["student_share"].examined == 3


def test_where_no_file_keeps_the_budget_its_limits_fail():
    found = judged({"min_shipped_share": 0.1, "max_latency_ms": 10}, max_bytes=1)
    assert [one.offenders for one in found.values()] == [(f"{NO_FILE} (0)",), (f"{NO_FILE} (not measured ms)",)]


def test_a_share_of_a_distance_is_the_teachers_over_the_own():
    table = {
        one: {"fid_9_test_judge": 10 * place, "size_bytes": 1}
        for place, one in enumerate(("teacher", "subnet", "export/subnet"), 1)
    }
    assert judged({"min_student_share": 0.5}, table)["student_share"].success
    assert judged({"min_student_share": 0.51}, table)["student_share"].offenders == ("subnet (0.5)",)


@pytest.mark.parametrize(
    ("value", "width", "metric", "passed", "words"),
    [
        (7.29, 0.1, METRIC, True, None),
        (7.35, 0.2, METRIC, True, None),
        (7.5, 0.1, METRIC, False, f"export/d4: {METRIC} 7.2 against the champion's 7.5, ± 0.1 (version 3, export/old)"),
        (99.0, 0.1, "fid_9_test_judge", True, None),
    ],
)
def test_regression_against_the_champion_is_by_the_rule_of_promotion(value, width, metric, passed, words):
    found = judged({"champion": "fail"}, champion=Champion("3", "export/old", Score(metric, value, width)))
    assert found["no_worse_than_champion"].success is passed
    assert found["no_worse_than_champion"].offenders == ((words,) if words else ())
    assert judged({"champion": "fail"}, champion=None) == {}


def write_limits(root, **limits):
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["gates"] |= limits
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return params


def write_report(root, **limits):
    """Run the real stage, which draws everything: seconds."""
    stage = Stage("report", None, root, write_limits(root, **limits))
    stage.out.mkdir(parents=True, exist_ok=True)
    report.work(stage, StageRun(root, None, ""))
    return (stage.out / "report.html").read_text(), (stage.out / "report.md").read_text()


def write_verdict(root, **limits):
    """Only what the stage judges."""
    stage = Stage("report", None, root, write_limits(root, **limits))
    stage.out.mkdir(parents=True, exist_ok=True)
    judge_evaluation(stage, load_params(root / "params.yaml"), read_evaluated(root))
    return read_verdict(root)


def enforce(root, monkeypatch, capsys):
    """Run the stage `gates` as DVC does; return its exit code and what it says."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("GANPRESS_TRACKING", "off")
    monkeypatch.setattr("sys.argv", ["gates"])
    monkeypatch.setattr("tasks.shared.stage.check_inputs", lambda _stage: None)  # the fixture's arrays are no arrays
    code = gates.stage_main("gates", gates.work)
    return code, capsys.readouterr().err


def test_a_failed_gate_is_the_first_line_of_the_report_and_ends_the_chain_after_it(project, monkeypatch, capsys):
    html, markdown = write_report(project, min_student_share=0.88, max_latency_ms=100.0)
    words = "1 of 2 gates failed: student_share (allowed: at least 0.88 of the teacher&#39;s is_1000_judge; "
    words += "found: student/d2-mse (0.868))."
    assert html[html.index("<h1>") :].split("\n")[1].startswith(f'<p class="warning" role="alert">{words}')
    assert markdown.split("\n")[2].startswith("**1 of 2 gates failed: student_share")
    assert "| latency | passed | allowed: at most 100 ms; 0 of 1 break it |" in markdown
    assert "| student share | FAILED | " in markdown
    verdict = read_verdict(project)
    assert (verdict.judged, len(verdict.failed)) == (2, 1)
    code, said = enforce(project, monkeypatch, capsys)
    assert code == 2
    (line,) = said.strip().splitlines()
    assert line.startswith("gates: 1 of 2 gates failed: student_share (allowed")
    assert line.endswith("fix what made them or the limits in params.yaml: gates")


def test_gates_that_are_passed_end_nothing(project, monkeypatch, capsys):
    verdict = write_verdict(project, min_file_share=0.9)
    assert (verdict.judged, verdict.sentence) == (1, None)
    assert enforce(project, monkeypatch, capsys) == (0, "")


def test_a_class_that_is_no_longer_drawn_is_found_in_the_samples_of_the_evaluation(project):
    path = project / "artifacts/evaluate/samples.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["generator", "class_after"])
        for name in ("teacher", "d4-mse", "subnet", "subnet-int8"):
            for sample in range(200):
                writer.writerow([f"export/{name}", "3" if name == "subnet" and sample % 10 == 8 else sample % 10])
    assert write_verdict(project, min_class_share=0.01).failed == (
        "class_share (allowed: every class has at least 0.01 of an even share; found: class 8 of export/subnet (0))",
    )
    path.write_text("generator\nexport/teacher\n")
    with pytest.raises(DataError, match=r"samples.csv is damaged .*run `dvc repro evaluate` again"):
        write_verdict(project, min_class_share=0.01)


def test_gates_of_another_evaluation_are_no_verdict(project, monkeypatch, capsys):
    assert write_verdict(project).judged == 0
    metrics = project / "artifacts/evaluate/metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"export/more": {}}))
    assert read_verdict(project) is None
    code, said = enforce(project, monkeypatch, capsys)
    assert (code, said) == (2, "gates: the report is not of the last evaluation; run `dvc repro report`\n")
    (project / VERDICT).unlink()
    assert enforce(project, monkeypatch, capsys)[0] == 2


def test_a_gate_on_classes_needs_a_judge_that_knows_them(project):
    params = write_limits(project, min_class_share=0.1)
    params["judge"] |= {"kind": "rotations"}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(ConfigError, match="gates.min_class_share needs judge.kind 'classifier'.*'rotations'"):
        load_params(project / "params.yaml")
