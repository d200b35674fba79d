"""Tracking end to end: journals, recorder, lineage, registry, reconciling, faults."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from ganpress.edge.files import pack_files
from ganpress.errors import ConfigError, DataError, ServiceUnavailable
from ganpress.frames import read_content
from ganpress.tracking import backfill, reconcile, recording, stage_run
from ganpress.tracking.backfill import dvc_md5, read_lock, reconcile_store
from ganpress.tracking.catalogue import search_models
from ganpress.tracking.events import EVENTS_FILE
from ganpress.tracking.journal import file_md5, journalled
from ganpress.tracking.recorder import record_all
from ganpress.tracking.recorders import has_pending, is_reconciled
from ganpress.tracking.registry import registered_name
from ganpress.tracking.store import open_store

LATENT = 5
PARAMS = {
    "seed": 1,
    "data": {"source": "digits"},
    "student": {"training": {"beta1": 0.5}, "items": {"d2": {"depth": 2}, "d4": {"depth": 4}}},
    "evaluate": {"max_bytes": 10_000},
}
EVALUATED = {
    "teacher": {"is_10_judge": 9.0, "fid_10_test_judge": 1.0, "size_bytes": 50, "latency_ms_p50": 0.5},
    "student/d2": {"is_10_judge": 8.0, "fid_10_test_judge": 2.0, "size_bytes": 20, "latency_ms_p50": 0.2},
    "export/small": {"is_10_judge": 7.0, "fid_10_test_judge": 3.0, "size_bytes": 900, "latency_ms_p50": 0.1},
    "export/large": {"is_10_judge": 8.5, "fid_10_test_judge": 3.0, "size_bytes": 20_000, "latency_ms_p50": 0.1},
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "GANPRESS_FLOW_RUN_ID", "GANPRESS_RECIPE", "GANPRESS_GIT_SHA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GANPRESS_TRACKING", "deferred")


def make_project(root):
    (root / "artifacts/prepare").mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        np.save(root / f"artifacts/prepare/{split}.npy", np.full((2, 1, 4, 4), number, np.uint8))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": "feed.dir", "path": "data"}]}))
    return root


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One project for the tests that add a run of their own name: making a store takes seconds."""
    return make_project(tmp_path_factory.mktemp("scratch"))


def write_model(root, reference, content=b""):
    path = root / "artifacts" / reference / "generator.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or reference.encode())
    return path


def write_onnx(root, reference, pixels):
    import onnx
    from onnx import TensorProto, helper

    path = root / "artifacts" / reference / "generator.onnx"
    path.parent.mkdir(parents=True)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [LATENT, pixels], np.ones(LATENT * pixels, np.float32))
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", LATENT])
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", pixels])
    graph = helper.make_graph([helper.make_node("MatMul", ["z", "w"], ["images"])], "g", [z], [images], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, path)
    (path.parent / "card.json").write_text("{}")
    return path


def make_stage(root, reference, parent=None, model=None):
    """Run a stage that makes one model, as tasks/ do."""
    stage, _, item = reference.partition("/")
    model = model or write_model(root, reference)
    facts = {"parameters": 10, "size_bytes": model.stat().st_size, "mse_last": 0.5}
    (model.parent / "metrics.json").write_text(json.dumps(facts))
    with stage_run(stage, item or None, root, PARAMS) as run:
        if parent:
            run.uses_model(parent)
        run.uses_data(root / "artifacts/prepare/train.npy")
        for step in (100, 200):
            run.log_metrics({"mse": 1 / step}, step)
            run.log_image("samples", np.zeros((8, 8), np.uint8), step)
        run.produces_model(model, stage, {"depth": 2}, facts)
    return model


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A recorded chain: candidate = teacher (same bytes) -> student -> two edge files, then evaluate."""
    root = make_project(tmp_path_factory.mktemp("chain"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANPRESS_TRACKING", "deferred")
        patch.setenv("GANPRESS_FLOW_RUN_ID", "flow-7")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        make_stage(root, "candidate/d8", model=write_model(root, "candidate/d8", b"same"))
        teacher = make_stage(root, "teacher", model=write_model(root, "teacher", b"same"))
        student = make_stage(root, "student/d2", teacher)
        small, large = (write_onnx(root, f"export/{name}", size) for name, size in (("small", 40), ("large", 1000)))
        (small,) = pack_files((small,))
        make_stage(root, "export/small", student, small)
        make_stage(root, "export/large", teacher, large)
        models = {"teacher": teacher, "student/d2": student, "export/small": small, "export/large": large}
        (root / "artifacts/evaluate").mkdir()
        (root / "artifacts/evaluate/metrics.json").write_text(json.dumps(EVALUATED))
        with stage_run("evaluate", None, root, PARAMS) as run:
            for reference, path in models.items():
                run.measures_model(path, EVALUATED[reference])
        write_lock(root, models, {"student/d2": teacher, "export/small": student, "export/large": teacher})
        record_all(root)
    return root


def write_lock(root, models, parents):
    def files(*paths):
        outs = [path if path.suffix == ".pt" else path.parent for path in paths]  # an export is its whole folder
        return [{"path": str(path.relative_to(root)), "md5": dvc_md5(path)} for path in outs]

    stages = {
        reference.replace("/", "@"): {
            "outs": files(path),
            "deps": files(parents[reference]) if reference in parents else [],
        }
        for reference, path in models.items()
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def runs_of(root):
    store = open_store(root)
    found = store.client.search_runs([store.experiment_id])
    return {run.info.run_name: store.client.get_run(run.info.run_id) for run in found}


def models_of(root):
    return {model.name: model for model in search_models(open_store(root))}


def test_each_stage_is_one_flat_run_with_its_tags_and_parameters(chain):
    runs = runs_of(chain)
    assert set(runs) == {"candidate@d8", "teacher", "student@d2", "export@small", "export@large", "evaluate"}
    student = runs["student@d2"]
    assert student.info.status == "FINISHED"
    assert "mlflow.parentRunId" not in student.data.tags
    expected = {"dvc.stage": "student@d2", "data.md5": "feed.dir", "prefect.flow_run_id": "flow-7", "recipe": "default"}
    assert expected.items() <= student.data.tags.items()
    assert student.data.params == {"seed": "1", "training.beta1": "0.5", "depth": "2"}
    assert not has_pending(chain)


def test_curves_and_pictures_keep_their_steps(chain):
    client, run = open_store(chain).client, runs_of(chain)["student@d2"]
    history = client.get_metric_history(run.info.run_id, "mse")
    assert [(point.step, point.value) for point in history] == [(100, 0.01), (200, 0.005)]
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images") if file.path.endswith(".png")]
    assert sorted(path.split("+step+")[1].split("+")[0] for path in images) == ["100", "200"]


def test_models_are_found_by_content_and_linked_to_their_parents(chain):
    models, runs = models_of(chain), runs_of(chain)
    student = models["student@d2"]
    assert student.tags["dvc.md5"] == file_md5(chain / "artifacts/student/d2/generator.pt")
    assert student.tags["family"] == "student"
    assert student.tags["parent.name"] == "teacher"  # not the candidate, whose file has the same bytes
    assert student.tags["parent.model_id"] == models["teacher"].model_id
    assert [one.model_id for one in runs["student@d2"].inputs.model_inputs] == [models["teacher"].model_id]
    assert [one.model_id for one in runs["student@d2"].outputs.model_outputs] == [student.model_id]
    digest = runs["student@d2"].inputs.dataset_inputs[0].dataset.digest
    assert digest == file_md5(chain / "artifacts/prepare/train.npy")
    files = {file.path for file in open_store(chain).client.list_logged_model_artifacts(student.model_id)}
    assert files == {"generator.pt"}


def test_the_page_of_a_model_tells_its_lineage_in_links(chain):
    models = models_of(chain)
    ids = {name: f"{model.model_id}?workflowType=machine_learning" for name, model in models.items()}
    home = f"#/experiments/{open_store(chain).experiment_id}/models"
    assert models["export@small"].tags["mlflow.note.content"] == (
        f"Lineage: [teacher]({home}/{ids['teacher']}) → [student@d2]({home}/{ids['student@d2']}) → export@small"
    )


def test_evaluation_shows_on_the_models_own_row(chain):
    metrics = {(one.key, one.value): one.dataset_digest for one in models_of(chain)["student@d2"].metrics}
    assert metrics["is_10_judge", 8.0] == file_md5(chain / "artifacts/prepare/test.npy")
    assert metrics["latency_ms_p50", 0.2] is None
    assert "mse_last" not in {name for name, _ in metrics}
    run = runs_of(chain)["student@d2"]
    assert run.data.metrics["fid_10_test_judge"] == 2.0
    assert run.data.tags["current"] == "true"
    assert len(runs_of(chain)["evaluate"].inputs.model_inputs) == 4


def test_alias_names_the_best_edge_file_under_the_budget_and_predicts(chain):
    import mlflow
    import onnxruntime

    client = open_store(chain).client
    version = client.get_model_version_by_alias("ganpress-edge", "best-under-budget")
    assert version.tags["reference"] == "export/small"
    assert len(client.search_model_versions("name = 'ganpress-edge'")) == 2
    z = np.random.default_rng(0).standard_normal((3, LATENT)).astype(np.float32)
    predicted = mlflow.pyfunc.load_model(version.source).predict({"z": z})["images"]
    session = onnxruntime.InferenceSession(read_content(chain / "artifacts/export/small/generator.onnx.zst"))
    np.testing.assert_array_equal(predicted, session.run(None, {"z": z})[0])


def test_a_wiped_store_is_filled_again_from_dvc_lock(chain, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(chain, root, ignore=shutil.ignore_patterns("mlflow"))
    assert not is_reconciled(root)
    reconcile_store(root)
    assert is_reconciled(root)
    runs, models = runs_of(root), models_of(root)
    assert set(models) == {"teacher", "student@d2", "export@small", "export@large"}
    assert all(runs[name].data.tags["backfilled"] == "true" for name in models)
    assert models["student@d2"].tags["parent.name"] == "teacher"
    numbers = {(one.key, one.value) for one in models["export@small"].metrics}
    assert {("is_10_judge", 7.0), ("size_bytes", 900.0)} <= numbers
    assert {one.model_id for one in runs["flow"].inputs.model_inputs} == {one.model_id for one in models.values()}
    best = open_store(root).client.get_model_version_by_alias("ganpress-edge", "best-under-budget")
    assert best.tags["reference"] == "export/small"
    before = len(open_store(root).client.search_runs([open_store(root).experiment_id]))
    reconcile_store(root)
    runs_after = open_store(root).client.search_runs([open_store(root).experiment_id])
    assert len(runs_after) == before + 1  # the flow's own run, nothing recorded twice
    (root / "dvc.lock").write_text((root / "dvc.lock").read_text() + "\n")
    assert not is_reconciled(root)


def test_a_store_without_our_run_is_not_reconciled(chain, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(chain, root, ignore=shutil.ignore_patterns("mlflow"))
    folder = root / ".ganpress/tracking"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reconciled.json").write_text("{broken")
    assert not is_reconciled(root)


def test_a_failed_stage_ends_failed_and_says_why(scratch):
    def fail():
        with stage_run("student", "failed", scratch, PARAMS) as run:
            run.log_metrics({"mse": 1.0})
            raise RuntimeError("no more paper")

    with pytest.raises(RuntimeError):
        fail()
    record_all(scratch)
    run = runs_of(scratch)["student@failed"]
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "RuntimeError: no more paper"


def test_a_killed_stage_ends_killed_and_keeps_what_it_said(scratch):
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom ganpress.tracking import stage_run\n"
        "with stage_run('student', 'killed', Path(sys.argv[1]), {}) as run:\n"
        "    run.log_metrics({'mse': 3.0}, 7)\n    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(scratch)], cwd=Path.cwd(), check=False).returncode == 9
    record_all(scratch)
    run = runs_of(scratch)["student@killed"]
    assert run.info.status == "KILLED"
    assert run.data.metrics["mse"] == 3.0
    assert not has_pending(scratch)


def test_a_running_stage_is_recorded_while_it_runs_and_once(scratch):
    with stage_run("student", "live", scratch, PARAMS) as run:
        run.log_metrics({"mse": 2.0}, 1)
        record_all(scratch)
        assert runs_of(scratch)["student@live"].info.status == "RUNNING"
        run.log_metrics({"mse": 1.0}, 2)
    record_all(scratch)
    found = runs_of(scratch)["student@live"]
    assert found.info.status == "FINISHED"
    history = open_store(scratch).client.get_metric_history(found.info.run_id, "mse")
    assert [point.step for point in history] == [1, 2]


def test_the_same_file_again_is_the_same_model(scratch):
    for _ in range(2):
        make_stage(scratch, "control/d2")
    record_all(scratch)
    store = open_store(scratch)
    assert [model.name for model in search_models(store)].count("control@d2") == 1
    runs = store.client.search_runs([store.experiment_id], "tags.`dvc.stage` = 'control@d2'")
    outputs = [store.client.get_run(run.info.run_id).outputs.model_outputs[0].model_id for run in runs]
    assert len(outputs) == 2
    assert len(set(outputs)) == 1


def test_a_flow_records_with_a_process_of_its_own_and_imports_no_mlflow(scratch):
    program = (
        "import sys\nfrom pathlib import Path\nfrom ganpress.tracking import recording, stage_run\n"
        "root = Path(sys.argv[1])\nwith recording(root, 'flow-9'):\n"
        "    with stage_run('teacher', None, root, {}) as run:\n        run.log_metrics({'mse': 1.0})\n"
        "assert not {'mlflow', 'pandas', 'sqlalchemy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(scratch)], cwd=Path.cwd(), check=True)
    assert runs_of(scratch)["teacher"].info.status == "FINISHED"


@pytest.mark.slow
def test_many_stages_with_recorders_of_their_own_share_a_fresh_store(tmp_path):
    root = make_project(tmp_path)
    program = (
        "import sys\nfrom pathlib import Path\nfrom ganpress.tracking import stage_run\n"
        "with stage_run('student', sys.argv[2], Path(sys.argv[1]), {}) as run:\n    run.log_metrics({'mse': 1.0})\n"
    )
    environment = os.environ | {"GANPRESS_TRACKING": "direct"}
    command = [sys.executable, "-c", program, str(root)]
    processes = [subprocess.Popen([*command, f"d{n}"], cwd=Path.cwd(), env=environment) for n in range(4)]
    assert [process.wait(200) for process in processes] == [0] * 4
    assert {name: run.info.status for name, run in runs_of(root).items()} == {
        f"student@d{n}": "FINISHED" for n in range(4)
    }


def test_a_silent_server_is_one_clear_line_before_any_work(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        stage = stage_run("teacher", None, make_project(tmp_path), PARAMS)
        with pytest.raises(ServiceUnavailable, match="does not answer .*; start it .* or unset MLFLOW_TRACKING_URI"):
            stage.__enter__()
    assert not has_pending(tmp_path)


def test_a_store_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/tracking.db")
    with pytest.raises(ServiceUnavailable, match="the MLflow store .*file cannot be made"):
        reconcile_store(make_project(tmp_path / "project"))


def test_modes(tmp_path, monkeypatch):
    monkeypatch.setenv("GANPRESS_TRACKING", "off")
    with recording(tmp_path), stage_run("teacher", None, tmp_path, PARAMS) as run:
        run.log_metrics({"mse": 1.0})
        run.produces_model(write_model(tmp_path, "teacher"), "teacher", {}, {})
    assert not has_pending(tmp_path)
    monkeypatch.setenv("GANPRESS_TRACKING", "loud")
    with pytest.raises(ConfigError, match="GANPRESS_TRACKING is 'loud'; allowed: direct, deferred, off"):
        reconcile(tmp_path)


def test_reconciling_nothing_costs_nothing(chain, monkeypatch):
    reconcile_store(chain)
    started = []
    monkeypatch.setattr("ganpress.tracking.recorders._start", lambda *_a, **_k: started.append(time.time()))
    reconcile(chain, "flow-8")
    assert started == []


def test_a_recorder_that_fails_early_ends_in_one_line_while_its_input_is_open(tmp_path, monkeypatch):
    monkeypatch.setenv("GANPRESS_TRACKING", "deferred")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/tracking.db")
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "ganpress.tracking.recorder", str(tmp_path), "--reconcile"]
    recorder = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        code = recorder.wait(60)
        lines = recorder.stderr.read().splitlines()
    finally:
        recorder.kill()
    assert code == 2, lines
    assert len(lines) == 1
    assert "cannot be made" in lines[0]


def test_a_lock_that_dvc_is_writing_is_read_when_it_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "dvc.lock"
    whole = yaml.safe_dump({"stages": {"teacher": {"outs": [{"path": "a", "md5": "b"}]}}})
    # Half a key, half a list that is valid YAML, all of it.
    states = iter(["stages:\n  teach", whole[: whole.index("md5")], whole])
    path.write_text("stages:\n  teacher: {}\n  te")

    def dvc_goes_on(_seconds):
        path.write_text(next(states, whole))

    monkeypatch.setattr(backfill.time, "sleep", dvc_goes_on)
    assert read_lock(path) == yaml.safe_load(whole)


@pytest.mark.parametrize(("text", "reason"), [("a: [1", "cannot be read"), ("[1]", "it holds a list, not stages")])
def test_a_damaged_lock_is_said(tmp_path, monkeypatch, text, reason):
    (tmp_path / "dvc.lock").write_text(text)
    monkeypatch.setattr(backfill, "LOCK_SECONDS", 0.1)
    with pytest.raises(DataError, match=f"dvc.lock .*{reason}.*restore it from git, or delete it and run again"):
        read_lock(tmp_path / "dvc.lock")


def test_a_recipes_edge_files_are_registered_under_its_name(monkeypatch):
    assert registered_name() == "ganpress-edge"
    assert registered_name("recipes/mnist.yaml") == "ganpress-edge-mnist"
    monkeypatch.setenv("GANPRESS_RECIPE", "mnist")
    assert registered_name() == "ganpress-edge-mnist"


@pytest.mark.parametrize(
    ("item", "own"),
    [
        ("mse-4", {"clipping": "mse", "bits": "4"}),
        ("none-2", {"clipping": "none", "bits": "2"}),
        (None, {"clipping": "['none', 'mse']", "bits": "[2, 4]"}),
    ],
)
def test_a_run_of_a_matrix_stage_has_its_own_place_as_parameters(tmp_path, item, own):
    params = {"seed": 1, "sweep": {"generator": "subnet", "clipping": ["none", "mse"], "bits": [2, 4]}}
    with journalled("sweep", item, tmp_path, params, {}) as run:
        pass
    started = json.loads((run.folder / EVENTS_FILE).read_text().splitlines()[0])
    assert {"generator": "subnet", **own}.items() <= started["params"].items()


@pytest.mark.parametrize("ending", ["", ".zst"])
def test_weights_beside_a_model_file_travel_with_it(tmp_path, ending):
    folder = tmp_path / "artifacts" / "export" / "x"
    folder.mkdir(parents=True)
    names = [f"generator.xml{ending}", f"generator.bin{ending}"]
    for name in names:
        (folder / name).write_text(name)
    with journalled("export", "x", tmp_path, PARAMS, {}) as run:
        run.produces_model(folder / names[0], "export", {}, {})
        copied = {path.name: path.read_text() for path in run.folder.rglob("generator.*")}
    assert copied == {name: name for name in names}
