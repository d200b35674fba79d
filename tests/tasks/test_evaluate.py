"""The stage `evaluate` on a small chain of real files: untrained networks, exported by the project's own exporter."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ganpress.checkpoint import load_model, save_model
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.data.arrays import PreparedMeta
from ganpress.edge.files import pack_files
from ganpress.edge.onnx_export import export_onnx
from ganpress.errors import CheckpointError, ConfigError, DataError
from ganpress.report.content import Fact
from ganpress.tracking import StageRun
from models.builders import Blueprint
from models.wdcgan import LATENT
from tasks.evaluate import work
from tasks.machine import read_machine, read_peaks
from tasks.report_facts import machine_facts
from tasks.report_samples import step_samples
from tasks.sample_changes import sources_first
from tasks.stage import Stage
from tasks.subjects import find_subjects, float_cost

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
PLAIN = {"teacher": 4, "student/d2": 2, "control/d2": 2, "subnet": 1}
REFERENCES = [*PLAIN, "subnet/extracted", "compress/subnet-int8", "export/teacher", "export/int8"]


def small_params() -> dict:
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["evaluate"] |= {"images": 40, "kid_subset_size": 20, "kid_subsets": 2, "is_splits": 2, "latency_repeats": 4}
    params["student"]["items"] = {"d2": {"depth": 2, "loss": "mse"}}
    params["control"]["items"] = {"d2": {"depth": 2}}
    params["compress"]["items"] = {"subnet-int8": {"generator": "subnet", "weight_bits": 8, "activation_bits": 8}}
    params["export"]["items"] = {
        "teacher": {"generator": "teacher"},
        "int8": {"generator": "compress/subnet-int8", "packed": True},
    }
    params["report"] |= {"sample_images": 5, "interpolation_steps": 3}
    return params


@pytest.fixture(scope="module")
def chain(tmp_path_factory, tiny_images):
    """Root folder of a chain whose models were never trained."""
    root = tmp_path_factory.mktemp("chain")
    artifacts = root / "artifacts"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = Blueprint("classifier", {"channels": 1, "classes": 3, "width": 4, "features": 8})
        save_model(artifacts / "judge" / "judge.pt", judge.build(), judge)
        plain = {}
        for reference, depth in PLAIN.items():
            blueprint = Blueprint("wdcgan_generator", {"spec": str(depth), "size": 16, "channels": 1})
            plain[reference] = blueprint.build().eval()
            save_model(artifacts / reference / "generator.pt", plain[reference], blueprint)
        save_model(artifacts / "subnet" / "extracted.pt", blueprint.build().eval(), blueprint)
        z = torch.randn(64, LATENT)
    int8 = quantize(plain["subnet"], z, QuantizationConfig(8, 8))
    save_model(artifacts / "compress" / "subnet-int8" / "generator.pt", int8, quantized_blueprint(int8, blueprint))
    export_onnx(plain["teacher"], artifacts / "export" / "teacher" / "generator.onnx", z)
    export_onnx(int8, artifacts / "export" / "int8" / "generator.onnx", z)
    pack_files((artifacts / "export" / "int8" / "generator.onnx",))
    (artifacts / "prepare").mkdir()
    np.save(artifacts / "prepare" / "test.npy", tiny_images.pixels)
    PreparedMeta("tiny", 16, 1, ["a", "b", "c"], {"test": 60}, "none").save(artifacts / "prepare")
    (artifacts / "evaluate").mkdir()
    return root


@pytest.fixture(scope="module")
def evaluated(chain):
    work(stage_of(chain), StageRun(chain, None, ""))
    return chain / "artifacts" / "evaluate"


@pytest.fixture(scope="module")
def metrics(evaluated):
    return json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))


def stage_of(root: Path, **changes: dict) -> Stage:
    return Stage("evaluate", None, root, small_params() | changes)


def test_every_generator_of_the_chain_is_measured(metrics):
    assert list(metrics) == REFERENCES


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


def test_channels_that_were_cut_are_not_counted(chain, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(chain, cut)
    narrow, blueprint = load_model(cut / "artifacts" / "student" / "d2" / "generator.pt")  # as a cut teacher would be
    int8 = quantize(narrow, torch.zeros(4, LATENT), QuantizationConfig(8, 8))
    save_model(cut / "artifacts" / "compress" / "cut" / "generator.pt", int8, quantized_blueprint(int8, blueprint))
    export_onnx(int8, cut / "artifacts" / "export" / "cut" / "generator.onnx", torch.zeros(2, LATENT))
    compress = {"calibration_images": 4, "items": {"cut": {"generator": "teacher", "width": 0.5, "weight_bits": 8}}}
    export = small_params()["export"] | {"items": {"cut": {"generator": "compress/cut"}}}
    subjects = find_subjects(stage_of(cut, compress=compress, export=export))
    costs = {subject.reference: float_cost(subject, torch.zeros(1, LATENT)) for subject in subjects}
    assert costs["export/cut"] == costs["compress/cut"] == costs["student/d2"]
    assert costs["export/cut"].macs_exact < costs["teacher"].macs_exact


def test_ratios_are_to_the_teacher_of_the_same_run(metrics):
    assert metrics["teacher"]["latency_ratio"] == metrics["teacher"]["is_retained"] == 1
    for row in metrics.values():
        ratio = metrics["teacher"]["latency_ms_p50"] / row["latency_ms_p50"]
        assert row["latency_ratio"] == pytest.approx(ratio)


def test_the_table_repeats_the_metrics(evaluated, metrics):
    with (evaluated / "generators.csv").open() as file:
        rows = {row.pop("generator"): row for row in csv.DictReader(file)}
    assert list(rows) == REFERENCES
    written = {name: float(value) for name, value in rows["subnet"].items() if value}  # empty: of others alone
    assert written == pytest.approx(metrics["subnet"])


def test_the_gallery_shows_the_same_latents_through_every_generator(evaluated):
    with np.load(evaluated / "gallery.npz") as gallery:
        assert {name for name in gallery if name.startswith("samples/")} == {f"samples/{one}" for one in REFERENCES}
        walks = {name.removeprefix("interpolation/") for name in gallery if name.startswith("interpolation/")}
        assert walks == {"teacher", "student/d2", "subnet", "subnet/extracted", "export/teacher", "export/int8"}
        torch_images, edge_images = gallery["samples/teacher"], gallery["samples/export/teacher"]
        assert torch_images.shape == (5, 1, 16, 16)
        assert torch_images.dtype == np.uint8
        assert gallery["interpolation/subnet"].shape == (3, 1, 16, 16)
        assert np.abs(torch_images.astype(int) - edge_images).max() <= 1
        assert torch_images.std() > 0


def test_samples_are_those_of_every_compressed_and_exported_generator(evaluated, metrics):
    with (evaluated / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    made_from = {row["generator"]: row["made_from"] for row in rows}
    assert made_from == {
        "compress/subnet-int8": "subnet",
        "export/teacher": "teacher",
        "export/int8": "compress/subnet-int8",
    }
    assert len(rows) == 3 * 40
    steps = step_samples(evaluated, 1)
    for step in steps:
        assert step.before.shape == step.after.shape == (12, 1, 16, 16)
        assert (np.diff(np.sort(step.feature_distance)[::-1][:12]) <= 0).all()
        mean = metrics[step.reference]["feature_distance_40_judge"]
        assert step.feature_distance.mean() == pytest.approx(mean, rel=1e-3)
        own = [row for row in rows if row["generator"] == step.reference]
        kept = np.mean([row["class_before"] == row["class_after"] for row in own])
        assert metrics[step.reference]["class_kept_40_judge"] == pytest.approx(kept)
        assert {row["class_before"] for row in own} <= {"a", "b", "c"}
    assert "feature_distance_40_judge" not in metrics["student/d2"]


def test_the_worst_samples_are_shown_before_and_after_the_step(evaluated):
    step = next(step for step in step_samples(evaluated, 1) if step.reference == "compress/subnet-int8")
    with (evaluated / "samples.csv").open() as file:
        own = [row for row in csv.DictReader(file) if row["generator"] == step.reference]
    own.sort(key=lambda row: -float(row["feature_distance"]))
    apart = np.abs(step.before.astype(float) - step.after).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(apart, [float(row["pixel_distance"]) for row in own[:12]], rtol=1e-3)


def test_a_generator_comes_after_the_one_that_it_was_made_from():
    sources = {"compress/a": "compress/b", "compress/b": "student/x", "export/a": "compress/a"}
    order = sources_first(["export/a", "compress/a", "compress/b", "student/x", "control/y"], sources)
    assert order == ["student/x", "control/y", "compress/b", "compress/a", "export/a"]


def test_scores_and_pictures_repeat_to_the_byte(chain, evaluated, metrics, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(chain, again)
    work(stage_of(again), StageRun(again, None, ""))
    gallery = (again / "artifacts" / "evaluate" / "gallery.npz").read_bytes()
    assert gallery == (evaluated / "gallery.npz").read_bytes()
    for name in ("samples.csv", "samples.npz"):
        assert (again / "artifacts" / "evaluate" / name).read_bytes() == (evaluated / name).read_bytes()
    repeated = json.loads((again / "artifacts" / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    timed = ("latency", "gmacs_per_s", "share_of_peak")
    timeless = [{k: v for k, v in row["subnet"].items() if not k.startswith(timed)} for row in (metrics, repeated)]
    assert timeless[0] == timeless[1]


def test_the_machine_that_measured_is_written_beside_the_measurements(evaluated):
    machine = read_machine(evaluated)
    assert machine["torch"] == torch.__version__
    assert machine["cores"] == str(os.cpu_count())
    assert machine["threads"] == f"{torch.get_num_threads()} for scores, 1 for latency"
    assert {"processor", "system", "python", "onnxruntime"} <= set(machine)


def test_rates_are_stated_against_the_peak_of_what_a_generator_multiplies_in(evaluated, metrics):
    peaks = read_peaks(evaluated)
    assert peaks is not None
    assert peaks.threads == 1
    for reference, number_type in (
        ("teacher", "float32"),
        ("compress/subnet-int8", "float32"),
        ("export/int8", "int8"),
    ):
        row = metrics[reference]
        assert row["gmacs_per_s"] == pytest.approx(row["macs_exact"] / row["latency_ms_p50"] / 1e6)
        assert row["share_of_peak"] == pytest.approx(row["gmacs_per_s"] / peaks.gmacs_per_s[number_type])


def test_the_report_states_the_machine_that_measured_and_not_its_own(tmp_path):
    assert machine_facts(tmp_path) == []
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "machine.json").write_text('{"processor": "abacus", "cores": "10"}')
    assert machine_facts(tmp_path) == [Fact("processor", "abacus"), Fact("cores", "10")]


@pytest.mark.parametrize(("content", "reason"), [('{"cores": ', "Expecting value"), ('{"cores": 2}', "texts by name")])
def test_a_damaged_file_of_machine_facts_is_named(tmp_path, content, reason):
    (tmp_path / "machine.json").write_text(content)
    with pytest.raises(DataError, match=rf"machine\.json is damaged \({reason}.*dvc repro evaluate"):
        read_machine(tmp_path)


def test_damaged_peaks_are_named_and_absent_ones_are_none(tmp_path):
    assert read_peaks(tmp_path) is None
    (tmp_path / "machine.json").write_text('{"peaks": {"threads": 1}}')
    with pytest.raises(DataError, match=r"machine\.json is damaged \(peaks: KeyError: 'gmacs_per_s'"):
        read_peaks(tmp_path)


def test_a_chain_of_references_leads_to_the_plain_generator(chain):
    bases = {subject.reference: subject.base for subject in find_subjects(stage_of(chain))}
    assert bases["export/int8"] == bases["compress/subnet-int8"] == "subnet"
    assert bases["export/teacher"] == "teacher"


def test_the_extracted_sub_generator_has_a_row_only_where_fine_tuning_changed_it(chain, metrics, tmp_path):
    before, after = metrics["subnet/extracted"], metrics["subnet"]
    assert before["mae_teacher_40"] != after["mae_teacher_40"]
    assert before["macs_exact"] == after["macs_exact"]
    untuned = tmp_path / "untuned"
    shutil.copytree(chain, untuned)
    folder = untuned / "artifacts" / "subnet"
    shutil.copyfile(folder / "generator.pt", folder / "extracted.pt")
    assert "subnet/extracted" not in [subject.reference for subject in find_subjects(stage_of(untuned))]


def test_only_the_teacher_is_no_way_off_the_teacher(metrics):
    assert metrics["teacher"]["mae_teacher_40"] == 0
    assert metrics["export/teacher"]["mae_teacher_40"] < 0.05  # a rounding here and there, in gray levels
    assert all(row["mae_teacher_40"] > 0.05 for name, row in metrics.items() if not name.endswith("teacher"))


def test_a_missing_generator_names_the_stage_that_makes_it(chain):
    student = small_params()["student"] | {"items": {"d9": {"depth": 9, "loss": "mse"}}}
    with pytest.raises(DataError, match=r"student/d9/generator\.pt is missing; run `dvc repro student@d9`"):
        find_subjects(stage_of(chain, student=student))


def test_an_unknown_source_is_refused(chain):
    export = small_params()["export"] | {"items": {"x": {"generator": "student/d7"}}}
    with pytest.raises(
        ConfigError, match="export/x is made of 'student/d7', which is no generator of this chain: teach"
    ):
        find_subjects(stage_of(chain, export=export))


def test_a_truncated_packed_file_is_refused(chain, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(chain, broken)
    path = broken / "artifacts" / "export" / "int8" / "generator.onnx.zst"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        CheckpointError, match=r"int8/generator\.onnx\.zst is truncated or damaged: .*; export it again$"
    ):
        work(stage_of(broken), StageRun(broken, None, ""))


def test_a_damaged_generator_leaves_earlier_results_alone(chain, evaluated, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(chain, broken)
    (broken / "artifacts" / "subnet" / "generator.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"subnet/generator\.pt is damaged"):
        work(stage_of(broken), StageRun(broken, None, ""))
    kept = (broken / "artifacts" / "evaluate" / "metrics.json").read_bytes()
    assert kept == (evaluated / "metrics.json").read_bytes()
