"""`ganpress compare`: order, budget, columns."""

import json

import pytest
from typer.testing import CliRunner

from flows.__main__ import app
from flows.commands.compare import parse_bytes
from ganpress.errors import BudgetError, ConfigError, DataError
from ganpress.metrics.ranking import (
    direction,
    file_to_ship,
    find_metric,
    higher_is_better,
    metric_family,
    sorted_references,
)

TABLE = {
    "teacher": {"is_100_judge": 9.0, "is_std_100_judge": 99.0, "fid_100_test_judge": 3.0, "size_bytes": 300_000},
    "student/d4": {"is_100_judge": 8.0, "fid_100_test_judge": 2.0, "size_bytes": 90_000},
    "export/int8": {"is_100_judge": 7.0, "fid_100_test_judge": 9.0, "size_bytes": 20_000},
    "export/same": {"is_100_judge": 7.0, "fid_100_test_judge": 9.0, "size_bytes": 10_000},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "artifacts/evaluate").mkdir(parents=True)
    (tmp_path / "artifacts/evaluate/metrics.json").write_text(json.dumps(TABLE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _compare(*arguments):
    return CliRunner().invoke(app, ["compare", *arguments])


def _json(*arguments):
    return json.loads(_compare("--json", *arguments).stdout)


def test_best_is_first_and_marked(project):
    rows = [line for line in _compare().stdout.splitlines() if "/" in line or "teacher" in line]
    assert rows[0].split()[:2] == ["*", "teacher"]
    assert not any(row.lstrip().startswith("*") for row in rows[1:])


def test_order_follows_the_direction_of_the_metric(project):
    assert _json()["best"] == "teacher"
    assert _json("--sort", "fid")["best"] == "student/d4"
    assert _json("--sort", "size_bytes")["best"] == "export/same"


def test_budget_and_edge_leave_rows_out(project):
    under = _json("--budget", "90kB")
    assert [row["generator"] for row in under["generators"]] == ["student/d4", "export/same", "export/int8"]
    assert _json("--edge")["best"] == "export/same"
    assert "1 larger than 90kB left out" in _compare("--budget", "90kB").stdout


def test_impossible_budget_names_the_smallest(project):
    error = _compare("--budget", "1kB").exception
    assert isinstance(error, BudgetError)
    assert "no generator fits into 1,000 bytes; the smallest is export/same with 10,000 bytes" in str(error)


def test_unknown_metric_lists_the_known(project):
    error = _compare("--sort", "beauty").exception
    assert isinstance(error, ConfigError)
    assert "no metric 'beauty'; metrics: fid_100_test_judge, is_100_judge" in str(error)


def test_nothing_evaluated_or_damaged(project):
    file = project / "artifacts/evaluate/metrics.json"
    file.write_text("{")
    assert "is damaged" in str(_compare().exception)
    file.write_text("[]")
    assert "must map generators to metrics" in str(_compare().exception)
    file.unlink()
    error = _compare().exception
    assert isinstance(error, DataError)
    assert "nothing was evaluated yet; run `ganpress run` first" in str(error)


@pytest.mark.parametrize(("text", "size"), [("100kB", 100_000), ("64KiB", 65_536), ("1.5 MB", 1_500_000), ("7", 7)])
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "kB", "-1", "10 apples", "1,000", "1.5.5MB", "5kB extra", "1e3"])
def test_sizes_refused(text):
    with pytest.raises(ConfigError, match="is not a size; write a number with B, kB, KiB, MB or MiB"):
        parse_bytes(text)


def test_a_size_beyond_all_files_is_refused():
    with pytest.raises(ConfigError, match="more than the largest size allowed"):
        parse_bytes("9" * 60)


def test_families():
    assert metric_family("fid_1000_test_judge") == "fid"
    assert metric_family("latency_ms_p50") == "latency_ms_p50"
    assert find_metric(TABLE, "is") == "is_100_judge"
    assert higher_is_better("is_100_judge")
    assert not higher_is_better("fid_100_test_judge")


def test_of_equals_the_smaller_file_wins_and_unmeasured_come_last():
    assert file_to_ship(TABLE, "is_100_judge", 20_000).reference == "export/same"
    table = {"a": {"size_bytes": 1.0}, "b": {"is_100_judge": float("nan")}, "c": {"is_100_judge": 1.0}}
    assert sorted_references(table, "is_100_judge")[0] == "c"


def edge_files(**rows):
    names = ("is_9_judge", "size_bytes", "latency_ms_p50")
    return {f"export/{name}": {**dict(zip(names, row, strict=False)), **dict(row[3:])} for name, row in rows.items()}


@pytest.mark.parametrize(
    ("rows", "budget", "shipped"),
    [
        ({"a": (6.0, 90, 1), "b": (5.0, 10, 1)}, None, "a"),
        ({"a": (6.0, 90, 1, ("is_9_judge_std", 0.3)), "b": (5.8, 10, 1)}, None, "b"),
        ({"a": (6.0, 90, 1, ("is_9_judge_std", 0.1)), "b": (5.8, 10, 1)}, None, "a"),
        ({"a": (6.0, 90, 1, ("is_9_judge_std", 0.3)), "b": (5.9, 90, 0.5)}, None, "b"),
        ({"a": (6.0, 90, 1), "b": (5.0, 10, 1)}, 50, "b"),
        ({"a": (float("nan"), 10, 1), "b": (5.0, 90, 1)}, None, "b"),
    ],
)
def test_differences_inside_the_interval_go_to_the_smaller_then_the_faster(rows, budget, shipped):
    table = edge_files(**rows) | {"teacher": {"is_9_judge": 9.0, "size_bytes": 1}}
    assert file_to_ship(table, "is_9_judge", budget).reference == f"export/{shipped}"
    assert file_to_ship(table, "is_9_judge", 1) is None


def test_intervals_of_a_distance():
    rows = {
        "export/a": {
            "fid_9_test_judge": 4.0,
            "fid_9_test_judge_low": 3.0,
            "fid_9_test_judge_high": 5.0,
            "size_bytes": 9,
        }
    }
    rows["export/b"] = {"fid_9_test_judge": 4.9, "size_bytes": 5}
    rows["export/c"] = {"fid_9_test_judge": 5.1, "size_bytes": 1}
    found = file_to_ship(rows, "fid_9_test_judge", None)
    assert (found.reference, found.best) == ("export/b", "export/a")
    assert "lies inside the interval of the best one's, export/a" in found.sentence


def test_compare_says_which_file_to_ship(project):
    assert "ship: export/same is the best edge file by is_100_judge" in _compare().stdout
    assert _json()["ship"] == "export/same"
    (project / "params.yaml").write_text("evaluate: {max_bytes: 5}\n")
    assert _json()["ship"] is None
    assert "ship" not in _compare("--sort", "size_bytes").stdout


def test_a_spread_is_not_taken_for_its_metric():
    table = {"a": {"is_100_judge_std": 9.0, "is_100_judge": 1.0}}
    assert find_metric(table, "is") == "is_100_judge"
    assert metric_family("is_100_judge_std") == "is_std"


def test_sharpness_is_best_where_it_equals_the_teachers():
    ratios = {"noise": 16.0, "blurred": 0.25, "double": 2.0, "near": 0.9, "teacher": 1.0, "flat": 0.0}
    table = {reference: {"vol_ratio_100": ratio} for reference, ratio in ratios.items()}
    assert sorted_references(table, "vol_ratio_100") == ["teacher", "near", "double", "blurred", "noise", "flat"]
    assert direction("vol_ratio_100") == "nearer to 1"
    assert not higher_is_better("vol_ratio_100")


def test_sharpness_itself_ranks_nothing(project):
    (project / "artifacts/evaluate/metrics.json").write_text(json.dumps({"a": {"vol_100": 5.0, "is_100_judge": 1.0}}))
    error = _compare("--sort", "vol").exception
    assert isinstance(error, ConfigError)
    assert "'vol_100' ranks nothing" in str(error)
    assert "sort by vol_ratio" in str(error)
    assert _compare("--metric", "vol").exit_code == 0


PAIRED = {
    "teacher": {
        "is_64_judge": 3.0,
        "fid_64_test_judge": 9.0,
        "fid_retained": 1.0,
        "psnr_64_test": 20.0,
        "macs_exact": 8,
    },
    "subnet": {
        "is_64_judge": 4.0,
        "fid_64_test_judge": 12.0,
        "fid_retained": 0.75,
        "psnr_64_test": 19.0,
        "macs_exact": 2,
    },
}


def test_conditional_generators_are_ranked_by_distance_and_shown_with_what_they_have(project):
    (project / "artifacts/evaluate/metrics.json").write_text(json.dumps(PAIRED))
    assert _json()["sorted_by"] == "fid_64_test_judge"
    assert _json()["best"] == "teacher"
    assert _json("--sort", "psnr")["best"] == "teacher"
    heading = " ".join(_compare().stdout.split("───")[0].split())
    assert all(word in heading for word in ("macs", "psnr", "fid", "retained"))
    assert "is" not in heading.split()


def test_what_decides_follows_from_the_kind_of_generators():
    assert find_metric({"a": {"miou_9_test_judge": 0.5, "fid_9_test_judge": 1.0}}, None) == "miou_9_test_judge"
    assert find_metric({"a": {"is_9_judge": 2.0, "fid_9_all_judge": 1.0}}, None) == "fid_9_all_judge"
    assert find_metric({"a": {"is_9_judge": 2.0, "fid_9_test_judge": 1.0}}, None) == "is_9_judge"
    assert metric_family("kid_9_test_judge_error") == "kid_error"


def test_intervals_and_differences_are_families_of_their_own():
    assert metric_family("recall_lsh_difference_1000_test_judge_low") == "recall_lsh_difference_low"
    assert metric_family("precision_lshknn_1000_test_judge") == "precision_lshknn"
    assert higher_is_better("recall_lshknn_1000_test_judge")
    assert higher_is_better("recall_lsh_difference_1000_test_judge")
    assert not higher_is_better("fid_difference_1000_test_judge")
    names = ["fid_difference_1000_test_judge", "fid_1000_test_judge_error", "fid_1000_test_judge"]
    assert find_metric({"teacher": dict.fromkeys(names, 1.0)}, "fid") == "fid_1000_test_judge"


def test_what_nothing_is_known_of_is_shown_and_never_ranked(project):
    table = {"a": {"beauty_100_judge": 2.0, "is_100_judge": 1.0}, "b": {"beauty_100_judge": 1.0, "is_100_judge": 2.0}}
    (project / "artifacts/evaluate/metrics.json").write_text(json.dumps(table))
    error = _compare("--sort", "beauty").exception
    assert isinstance(error, ConfigError)
    assert "'beauty_100_judge' is no metric of ganpress or of an installed package" in str(error)
    assert _compare("--metric", "beauty").exit_code == 0
    for ask in (higher_is_better, direction):
        with pytest.raises(ConfigError, match="nothing says which value is better; known: is, fid, kid"):
            ask("beauty_100_judge")


def test_shares_are_better_higher_and_errors_lower():
    assert higher_is_better("fid_retained")
    assert not higher_is_better("is_100_judge_std")
    assert higher_is_better("recall_lsh_100_test_judge_low")
