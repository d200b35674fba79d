"""The best edge file, retained shares, and refused inputs."""

import dataclasses

import pytest

from ganpress.errors import DataError
from ganpress.report.caveats import caveats
from ganpress.report.content import Measured, ReportInputs
from ganpress.report.figures.quality_figures import front
from ganpress.report.gains import gains
from ganpress.report.headline import headline, summary
from ganpress.report.page import build_report
from ganpress.report.tables.chain_tables import gain_table


def with_budget(inputs: ReportInputs, max_bytes: int | None) -> ReportInputs:
    evaluate = inputs.params.evaluate.model_copy(update={"max_bytes": max_bytes})
    return dataclasses.replace(inputs, params=inputs.params.model_copy(update={"evaluate": evaluate}))


def test_best_edge_file_keeps_the_budget(inputs: ReportInputs) -> None:
    assert with_budget(inputs, 100_000).best_edge_file().reference == "export/subnet-int8"
    assert with_budget(inputs, 300_000).best_edge_file().reference == "export/d4-mse"
    assert with_budget(inputs, None).best_edge_file().reference == "export/teacher"


def test_of_equal_edge_files_the_smaller_is_best(inputs: ReportInputs) -> None:
    row = inputs.generator("export/d4-mse").metrics
    twins = [Measured("export/large", dict(row)), Measured("export/small", dict(row) | {"size_bytes": 10})]
    twins = dataclasses.replace(inputs, generators=[inputs.teacher, *twins])
    assert with_budget(twins, None).best_edge_file().reference == "export/small"


def test_impossible_budget_names_the_smallest(inputs: ReportInputs) -> None:
    poor = with_budget(inputs, 1000)
    assert poor.best_edge_file() is None
    first = headline(poor)
    assert first.tiles == []
    assert "No edge file is within the budget of 1.00 kB" in first.sentence
    assert "export/subnet-int8 with 49.5 kB" in first.sentence
    assert summary(poor)["best_edge_file"] is None


def test_headline_and_summary_are_the_measured_ratios(inputs: ReportInputs) -> None:
    teacher, best = inputs.teacher.metrics, inputs.best_edge_file().metrics
    values = summary(inputs)
    assert values["parameters_ratio"] == teacher["parameters"] / best["parameters"]
    assert values["size_ratio"] == teacher["size_bytes"] / best["size_bytes"]
    assert values["latency_ratio"] == best["latency_ratio"]
    assert values["is_retained"] == pytest.approx(best["is_1000_judge"] / teacher["is_1000_judge"])
    assert [tile.label for tile in headline(inputs).tiles] == [
        "of the teacher's IS",
        "FID, lower is better",
        "smaller file",
        "faster",
        "fewer MACs",
        "fewer parameters",
    ]


def test_headline_says_how_sure_the_choice_is(inputs: ReportInputs) -> None:
    best = inputs.best_edge_file()
    name = "fid_difference_1000_test_judge"
    for low, high, words in (
        (-1.0, 2.0, "the difference is not significant"),
        (0.2, 2.0, "it is worse"),
        (-2.0, -0.1, "it is better"),
    ):
        known = Measured(
            best.reference, {**best.metrics, name: (low + high) / 2, f"{name}_low": low, f"{name}_high": high}
        )
        others = [known if one.reference == best.reference else one for one in inputs.generators]
        sentence = headline(dataclasses.replace(inputs, generators=others)).sure
        assert words in sentence
        assert f"Its FID differs from the teacher's by {(low + high) / 2:+.3f}".replace("-", "−") in sentence
    without = {key: value for key, value in best.metrics.items() if "difference" not in key}
    others = [Measured(one.reference, without) if one is best else one for one in inputs.generators]
    assert headline(dataclasses.replace(inputs, generators=others)).sure is None


def with_teacher_score(inputs: ReportInputs, score: float) -> ReportInputs:
    poor = Measured("teacher", dict(inputs.teacher.metrics) | {"is_1000_judge": score})
    return dataclasses.replace(inputs, generators=[poor, *inputs.generators[1:]])


def test_poor_teacher_is_warned_of(inputs: ReportInputs) -> None:
    assert headline(inputs).warning is None
    sentence = headline(with_teacher_score(inputs, 1.841)).warning
    assert "its IS of 1.841 goes 10.0 % of the way from noise (1) to real images (9.410)" in sentence
    assert headline(with_teacher_score(inputs, 1 + 8.42 / 2)).warning is None


def test_a_teacher_far_from_real_images_or_without_variety_is_warned_of(inputs: ReportInputs) -> None:
    fid, recall = inputs.metric("fid"), inputs.metric("recall")
    real = inputs.data.real_score("fid")
    assert fid is not None
    assert recall is not None
    assert real is not None
    collapsed = Measured("teacher", dict(inputs.teacher.metrics) | {fid.raw: real[1] * 29, recall.raw: 0.0})
    sentence = headline(dataclasses.replace(inputs, generators=[collapsed, *inputs.generators[1:]])).warning
    assert sentence.startswith("The teacher is poor: its FID")
    assert "is 29 times that of real images; its recall of 0" in sentence


def test_headline_shows_what_real_images_score(inputs: ReportInputs) -> None:
    assert headline(inputs).tiles[0].protocol == "1,000 images · judge; real test images: 9.410"


def test_retained_share_of_a_distance_is_teacher_over_own(inputs: ReportInputs) -> None:
    metric = inputs.metric("fid")
    control = inputs.generator("control/d2")
    share = inputs.retained(control, metric)
    assert share == inputs.teacher.metrics[metric.raw] / control.metrics[metric.raw]
    assert share < 1
    assert inputs.retained(inputs.teacher, metric) == 1


def test_without_is_the_distance_decides(inputs: ReportInputs) -> None:
    rows = [
        Measured(one.reference, {name: value for name, value in one.metrics.items() if not name.startswith("is_")})
        for one in inputs.generators
    ]
    assert dataclasses.replace(inputs, generators=rows).main_metric.raw == "fid_1000_test_judge"


def test_no_quality_metric_is_refused(inputs: ReportInputs) -> None:
    blind = dataclasses.replace(inputs, generators=[Measured("teacher", {"parameters": 5})])
    with pytest.raises(DataError, match="none of IS, FID, KID; found: parameters; run `dvc repro evaluate`"):
        _ = blind.main_metric


def test_missing_teacher_is_refused(inputs: ReportInputs) -> None:
    orphans = dataclasses.replace(inputs, generators=inputs.generators[1:])
    with pytest.raises(DataError, match="no 'teacher'; run `dvc repro evaluate`"):
        _ = orphans.teacher


def test_unknown_group_is_refused() -> None:
    with pytest.raises(DataError, match="holds 'guess/x'; a generator is one of teacher, student"):
        _ = Measured("guess/x", {}).group


def test_front_holds_what_nothing_beats() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 7.0), (3.0, 6.0), (4.0, 9.0)]
    assert front(points, lower_is_better=False) == [(1.0, 5.0), (2.0, 7.0), (4.0, 9.0)]
    assert front(points, lower_is_better=True) == [(1.0, 5.0), (2.0, 4.0)]
    for lower in (False, True):
        sign = 1 if lower else -1
        for cost, score in points:
            beaten = any(c <= cost and sign * s <= sign * score and (c, s) != (cost, score) for c, s in points)
            assert beaten != ((cost, score) in front(points, lower))


def test_runtime_and_file_of_the_edge_are_those_of_its_card(inputs: ReportInputs) -> None:
    other = dataclasses.replace(inputs, cards=[dataclasses.replace(card, target="openvino") for card in inputs.cards])
    for shown, runtime, suffix in ((inputs, "ONNX Runtime", ".onnx"), (other, "OpenVINO", ".xml")):
        tiles = {tile.label: tile.protocol for tile in headline(shown).tiles}
        assert tiles["faster"].endswith(f"edge in {runtime}")
        assert tiles["smaller file"].endswith(f"to edge {suffix}")
        assert any(f"edge files in {runtime}, so" in sentence for sentence in caveats(shown))


def test_all_runtimes_of_a_mixed_export_are_named(inputs: ReportInputs) -> None:
    first, *others = inputs.cards
    mixed = dataclasses.replace(inputs, cards=[first, *(dataclasses.replace(one, target="openvino") for one in others)])
    assert any("edge files in ONNX Runtime and OpenVINO, so" in sentence for sentence in caveats(mixed))


def test_edge_file_without_a_card_is_given_no_runtime(inputs: ReportInputs) -> None:
    bare = dataclasses.replace(inputs, cards=())
    tiles = {tile.label: tile.protocol for tile in headline(bare).tiles}
    assert tiles["faster"].endswith("edge in its runtime")
    assert not any("ONNX Runtime" in sentence for sentence in caveats(bare))


def test_a_gain_inside_an_interval_is_not_certain(inputs: ReportInputs) -> None:
    gain = next(one for one in gains(inputs) if one.better)
    name = gain.metric.raw
    wide = {f"{name}_low": gain.value - 2 * gain.difference, f"{name}_high": gain.value + 2 * gain.difference}
    narrow = {f"{name}_low": gain.value - gain.difference / 4, f"{name}_high": gain.value + gain.difference / 4}
    for ends, certain in ((wide, False), (narrow, True)):
        one = dataclasses.replace(gain.one, metrics={**gain.one.metrics, **ends})
        beside = dataclasses.replace(gain.beside, metrics={name: gain.value_beside})
        found = dataclasses.replace(gain, one=one, beside=beside)
        assert found.certain == certain
        (row,) = gain_table([found], inputs).groups[0].rows
        assert row.cells[2].best == certain


def test_the_commit_to_reproduce_with_is_named(inputs: ReportInputs) -> None:
    named = dataclasses.replace(inputs, commit="f" * 40, edited=True)
    report = build_report(named)
    for text in (report.html, report.markdown):
        assert "f" * 40 in text
        assert "changes that were not committed" in text
    assert "In a checkout of the project" in build_report(dataclasses.replace(inputs, commit=None)).html
