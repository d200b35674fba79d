"""The numbers of `evaluate`: a row for each generator, the same ones again, and none where a file is damaged."""

import csv
import json
import shutil

import numpy as np
import pytest

from ganpress.errors import CheckpointError
from tasks.shared.subjects import find_subjects

TIMED = ("latency", "gmacs_per_s", "share_of_peak")


def test_every_generator_of_the_chain_is_measured(metrics, references):
    assert list(metrics) == references


def test_every_row_has_all_metrics(metrics):
    expected = {"is_40_judge", "fid_40_test_judge", "kid_40_test_judge", "precision_40_test_judge", "vol_ratio_40"}
    expected |= {"recall_40_test_judge", "density_40_test_judge", "coverage_40_test_judge", "is_retained"}
    expected |= {"fid_retained", "mae_teacher_40"}
    for side in ("precision", "recall"):
        for kind in ("lsh", "lshknn"):
            name = f"{side}_{kind}_40_test_judge"
            expected |= {name, f"{name}_low", f"{name}_high"}
    expected |= {"kid_40_test_judge_low", "kid_40_test_judge_high"}
    expected |= {"parameters", "macs_exact", "macs_torchprofile", "size_bytes"}
    expected |= {"latency_ms_p50", "latency_ms_p95", "latency_ratio", "latency_threads", "latency_ms_p50_batch64"}
    expected |= {"gmacs_per_s", "share_of_peak"}
    for row in metrics.values():
        assert expected <= set(row)
        assert all(np.isfinite(value) for value in row.values())


def test_an_edge_file_scores_like_the_torch_generator_it_was_made_of(metrics):
    for edge, source in (("export/teacher", "teacher"), ("export/int8", "compress/subnet-int8")):
        for name in ("is_40_judge", "fid_40_test_judge", "vol_40"):
            assert metrics[edge][name] == pytest.approx(metrics[source][name], rel=0.02)


def test_costs_are_those_of_the_plain_generator_but_bytes_those_of_the_file(metrics, chain):
    for name in ("parameters", "macs_exact", "macs_torchprofile"):
        assert metrics["export/teacher"][name] == metrics["teacher"][name]
        assert metrics["export/int8"][name] == metrics["compress/subnet-int8"][name] == metrics["subnet"][name]
    exports = chain / "artifacts" / "export"
    assert metrics["export/teacher"]["size_bytes"] == (exports / "teacher" / "generator.onnx").stat().st_size
    assert metrics["export/int8"]["size_bytes"] == (exports / "int8" / "generator.onnx.zst").stat().st_size
    assert metrics["subnet"]["parameters"] < metrics["student/d2"]["parameters"] < metrics["teacher"]["parameters"]


def test_ratios_are_to_the_teacher_of_the_same_run(metrics):
    assert metrics["teacher"]["latency_ratio"] == metrics["teacher"]["is_retained"] == 1
    for row in metrics.values():
        ratio = metrics["teacher"]["latency_ms_p50"] / row["latency_ms_p50"]
        assert row["latency_ratio"] == pytest.approx(ratio)
        assert row["is_retained"] == pytest.approx(row["is_40_judge"] / metrics["teacher"]["is_40_judge"])


def test_only_the_teacher_is_no_way_off_the_teacher(metrics):
    assert metrics["teacher"]["mae_teacher_40"] == 0
    assert metrics["export/teacher"]["mae_teacher_40"] < 0.05  # a rounding here and there, in gray levels
    assert all(row["mae_teacher_40"] > 0.05 for name, row in metrics.items() if not name.endswith("teacher"))


def test_the_extracted_sub_generator_has_a_row_only_where_fine_tuning_changed_it(chain, stage_of, metrics, tmp_path):
    before, after = metrics["subnet/extracted"], metrics["subnet"]
    assert before["mae_teacher_40"] != after["mae_teacher_40"]
    assert before["macs_exact"] == after["macs_exact"]
    untuned = shutil.copytree(chain, tmp_path / "untuned")
    folder = untuned / "artifacts" / "subnet"
    shutil.copyfile(folder / "generator.safetensors", folder / "extracted.safetensors")
    assert "subnet/extracted" not in [subject.reference for subject in find_subjects(stage_of(untuned))]


def test_the_table_repeats_the_metrics(evaluated, metrics, references):
    with (evaluated / "generators.csv").open() as file:
        rows = {row.pop("generator"): row for row in csv.DictReader(file)}
    assert list(rows) == references
    for reference, row in rows.items():
        written = {name: float(value) for name, value in row.items() if value}  # empty: of others alone
        assert written == metrics[reference]


def test_scores_and_pictures_repeat_to_the_byte(chain, evaluate, evaluated, metrics, tmp_path):
    again = evaluate(shutil.copytree(chain, tmp_path / "again"))
    for name in ("gallery.npz", "samples.csv", "samples.npz"):
        assert (again / name).read_bytes() == (evaluated / name).read_bytes()
    repeated = json.loads((again / "metrics.json").read_text(encoding="utf-8"))
    timeless, timeless_again = (
        {name: {k: v for k, v in row.items() if not k.startswith(TIMED)} for name, row in rows.items()}
        for rows in (metrics, repeated)
    )
    assert timeless == timeless_again


def test_a_truncated_packed_file_is_refused(chain, evaluate, tmp_path):
    broken = shutil.copytree(chain, tmp_path / "broken")
    path = broken / "artifacts" / "export" / "int8" / "generator.onnx.zst"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        CheckpointError, match=r"int8/generator\.onnx\.zst is truncated or damaged: .*; export it again$"
    ):
        evaluate(broken)


def test_a_damaged_generator_leaves_earlier_results_alone(chain, evaluate, evaluated, tmp_path):
    broken = shutil.copytree(chain, tmp_path / "broken")
    (broken / "artifacts" / "subnet" / "generator.safetensors").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"subnet/generator\.safetensors is damaged"):
        evaluate(broken)
    kept = {path.name: path.read_bytes() for path in (broken / "artifacts" / "evaluate").iterdir()}
    assert kept == {path.name: path.read_bytes() for path in evaluated.iterdir()}
