"""The section about quality against diversity, from files to page."""

import json
import re
from pathlib import Path

import pytest
import yaml

from ganpress.config.sweep_section import SweepConfig
from ganpress.errors import DataError
from ganpress.report.figures.tradeoff_figures import size_charts, tradeoff_charts
from ganpress.report.page import build_report
from ganpress.report.tables.tradeoff_tables import tradeoff_table
from ganpress.report.tradeoff import Sweep, answer, ceiling, differs, interval
from tasks.shared.report_inputs import read_inputs
from tasks.shared.report_sweep import sweep_levels
from tasks.shared.stage import Stage

CONFIG = SweepConfig(generator="subnet", clipping=("mse", "aciq"), bits=(6, 2, 3), images=1000)
PROTOCOL = "1000_test_judge"
PRECISION, RECALL = f"precision_lsh_{PROTOCOL}", f"recall_lsh_{PROTOCOL}"


def scores(precision: float, recall: float, size: float) -> dict[str, float]:
    row = {f"fid_{PROTOCOL}": 20 / recall, "packed_bytes": size}
    for test in ("", "_lsh", "_lshknn"):
        row |= {f"precision{test}_{PROTOCOL}": precision, f"recall{test}_{PROTOCOL}": recall}
    for test in ("_lsh", "_lshknn"):
        for name, value in (("precision", precision), ("recall", recall)):
            row[f"{name}{test}_{PROTOCOL}_low"], row[f"{name}{test}_{PROTOCOL}_high"] = value - 0.02, value + 0.03
    return row | {f"precision_lsh_ceiling_{PROTOCOL}": 0.81, f"recall_lsh_ceiling_{PROTOCOL}": 0.79}


IN_FLOATS = scores(0.8, 0.6, 100_000)


def level(clipping: str, bits: int) -> dict[str, float]:
    precision, recall = 0.8 - 0.04 / bits, 0.6 * (1 - 2.0 ** (1 - bits)) * (0.9 if clipping == "aciq" else 1)
    row = scores(precision, recall, 4_000 * bits) | {"snr_db": 6.0 * bits}
    for name, value in ((PRECISION, precision - 0.8), (RECALL, recall - 0.6)):
        difference = name.replace("lsh_", "lsh_difference_")
        row |= {f"{difference}_low": value - 0.03, f"{difference}_high": value + 0.03}
    return row


def write_levels(artifacts: Path, config: SweepConfig = CONFIG) -> None:
    (artifacts / "sweep").mkdir()
    levels = {point.item: level(point.clipping, point.bits) for point in config.points}
    (artifacts / "sweep" / "metrics.json").write_text(json.dumps({"float": IN_FLOATS, "levels": levels}))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    write_levels(tmp_path)
    return sweep_levels(tmp_path, CONFIG)


def test_levels_come_by_method_and_ascending_bits(sweep):
    assert [one.name for one in sweep.levels] == [
        f"{clipping}, {bits} bits" for clipping in ("mse", "aciq") for bits in (2, 3, 6)
    ]
    assert sweep.in_floats == IN_FLOATS
    assert sweep.metric("fid") == f"fid_{PROTOCOL}"
    assert sweep.metric("is") is None


def test_tests_of_membership_are_told_apart(sweep):
    assert [(test.key, test.precision) for test in sweep.tests()] == [
        ("lsh", PRECISION),
        ("lshknn", f"precision_lshknn_{PROTOCOL}"),
        ("knn", f"precision_{PROTOCOL}"),
    ]
    assert sweep.tests()[0].protocol == "1,000 images · test · judge"
    assert ceiling(sweep, PRECISION) == 0.81
    assert ceiling(sweep, f"recall_{PROTOCOL}") is None
    assert ceiling(sweep, f"recall_lshknn_{PROTOCOL}") is None


def test_intervals_and_real_differences(sweep):
    few, many = sweep.by_clipping("mse")[0].metrics, sweep.by_clipping("mse")[-1].metrics
    assert interval(few, RECALL) == (pytest.approx(0.28), pytest.approx(0.33))
    assert interval(few, f"recall_{PROTOCOL}") == (0.3, 0.3)
    assert differs(few, RECALL)
    assert not differs(many, RECALL)
    assert not differs(few, PRECISION)
    assert differs(few, f"recall_{PROTOCOL}")  # nothing says that it is not


def test_the_answer_names_the_best_method_at_each_width(sweep):
    assert answer(sweep, sweep.tests()[0]) == (
        "Of the float generator's precision and recall, by LSH, these remain: with 2 bits (mse) 97.5 % and 50.0 %; "
        "3 bits (mse) 98.3 % and 75.0 %; 6 bits (mse) 99.2 % and 96.9 %."
    )


def test_a_collapsed_generator_has_an_answer(tmp_path):
    write_levels(tmp_path)
    path = tmp_path / "sweep" / "metrics.json"
    content = json.loads(path.read_text())
    for metrics in content["levels"].values():
        metrics |= {PRECISION: 0.0, RECALL: 0.0}
    content["float"] |= {PRECISION: 0.0}
    path.write_text(json.dumps(content))
    sweep = sweep_levels(tmp_path, CONFIG)
    assert "2 bits (mse) – and 0.0 %" in answer(sweep, sweep.tests()[0])
    assert tradeoff_charts(sweep)


def test_table_compares_with_floats(sweep):
    table = tradeoff_table(sweep)
    keys = [heading.key for heading in table.headings]
    assert [group.title for group in table.groups] == ["In floats", "Clipping: mse", "Clipping: aciq"]
    floats, few = table.groups[0].rows[0].cells, table.groups[1].rows[0].cells
    assert (few[keys.index("packed_bytes")].text, few[keys.index("smaller")].text) == ("8.00 kB", "12.5×")
    assert few[keys.index(f"{RECALL}/kept")].text == "50.0 %"
    assert floats[keys.index(f"{RECALL}/kept")].text == "100.0 %"
    assert floats[keys.index("snr_db")].value is None


def test_charts_have_a_line_a_method_and_a_mark_a_level(sweep):
    drawings = tradeoff_charts(sweep)
    assert [drawing.name for drawing in drawings] == ["tradeoff-lsh", "tradeoff-lshknn", "tradeoff-knn"]
    svg = drawings[0].svg
    titles = re.findall(r"<title>(.*?)</title>", svg)
    assert len(titles) == 3 * len(sweep.levels) + 1
    assert "mse, 2 bits: 0.300 (0.280 to 0.330)" in titles
    assert "mse, 2 bits: precision 0.780, recall 0.300" in titles
    assert "95 % intervals" in drawings[0].caption
    assert "real images" in svg
    assert "intervals" not in drawings[2].caption or f"precision_{PROTOCOL}_low" in sweep.in_floats
    assert [drawing.name for drawing in size_charts(sweep)] == ["tradeoff-bytes"]


def test_one_level_of_one_test_can_be_drawn(tmp_path):
    config = CONFIG.model_copy(update={"clipping": ("mse",), "bits": (6,)})
    write_levels(tmp_path, config)
    sweep = sweep_levels(tmp_path, config)
    assert len(tradeoff_charts(sweep)) == 3
    assert size_charts(sweep)


def test_absent_levels_are_left_out_and_damaged_ones_named(tmp_path):
    assert sweep_levels(tmp_path, CONFIG) is None
    write_levels(tmp_path)
    path = tmp_path / "sweep" / "metrics.json"
    content = json.loads(path.read_text())
    del content["levels"]["mse-2"]
    path.write_text(json.dumps(content))
    assert len(sweep_levels(tmp_path, CONFIG).levels) == 5
    path.write_text(json.dumps({"levels": {}}))
    with pytest.raises(DataError, match=r"sweep/metrics\.json is damaged \(KeyError.*run `dvc repro --force sweep`"):
        sweep_levels(tmp_path, CONFIG)
    path.write_text("{")
    with pytest.raises(DataError, match=r"sweep/metrics\.json is damaged"):
        sweep_levels(tmp_path, CONFIG)


def test_page_shows_the_section(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    stage = Stage("report", None, project, params)
    write_levels(project / "artifacts", SweepConfig(**params["sweep"]))
    report = build_report(read_inputs(stage))
    assert {"tradeoff-lsh.png", "tradeoff-knn.png", "tradeoff-bytes.png"} <= set(report.pictures)
    for text in (report.html, report.markdown):
        assert "Of the float generator&#39;s precision" in text or "Of the float generator's precision" in text
        assert "mse, 2 bits" in text
        assert "No sweep was found." not in text
    assert 'id="tradeoff-lsh"' in report.html
