"""A project whose stages record themselves, and a chain of models that a recorder has written into MLflow."""

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

from ganpress.edge.file_writing import pack_files
from ganpress.errors import QualityGateFailed
from ganpress.executed_code.versions import record_versions
from ganpress.files.dvc_files import dvc_md5
from ganpress.metrics.gate_verdict import VERDICT, GateVerdict, metrics_digest
from ganpress.tracking import stage_run
from ganpress.tracking.catalogue import search_models
from ganpress.tracking.recorder import record_all
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


@dataclass(frozen=True)
class Project:
    """A project below `root` with prepared data, its stages, and the store that they are recorded in."""

    root: Path

    @property
    def store(self):
        """The open store; made where there is none."""
        return open_store(self.root)

    def search(self, filter_string=""):
        """Runs of the store without their inputs and outputs."""
        return self.store.client.search_runs([self.store.experiment_id], filter_string)

    def runs(self):
        """Whole runs of the store, by name."""
        return {run.info.run_name: self.store.client.get_run(run.info.run_id) for run in self.search()}

    def models(self):
        """Models of the store, by name."""
        return {model.name: model for model in search_models(self.store)}

    def stage(self, name, item=None):
        """The run of a stage of this project, a context."""
        return stage_run(name, item, self.root, PARAMS)

    def write_model(self, reference, content=b""):
        """Write the model file of `reference`, no weights, and return its path."""
        path = self.root / "artifacts" / reference / "generator.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or reference.encode())
        return path

    def make_model(self, reference, parent=None, model=None):
        """Run a stage that makes one model, as tasks/ do; return the model's path."""
        stage, _, item = reference.partition("/")
        model = model or self.write_model(reference)
        facts = {"parameters": 10, "size_bytes": model.stat().st_size, "mse_last": 0.5}
        (model.parent / "metrics.json").write_text(json.dumps(facts))
        with self.stage(stage, item or None) as run:
            if parent:
                run.uses_model(parent)
            run.uses_data(self.root / "artifacts/prepare/train.npy")
            for step in (100, 200):
                run.log_metrics({"mse": 1 / step}, step)
                run.log_image("samples", np.zeros((8, 8), np.uint8), step)
            run.produces_model(model, stage, {"depth": 2}, facts)
        (model.parent / "curves.csv").write_text("images,mse\n100,0.01\n200,0.005\n")
        record_versions(self.root, stage, item or None, run.made())
        return model

    def evaluate(self, models):
        """Run a stage that measures models (paths by reference), as tasks/ do."""
        (self.root / "artifacts/evaluate").mkdir()
        (self.root / "artifacts/evaluate/metrics.json").write_text(json.dumps(EVALUATED))
        with self.stage("evaluate") as run:
            for reference, path in models.items():
                run.measures_model(path, EVALUATED[reference])

    def judge(self, *failed):
        """Run the stage of the gates after a report that says which of two failed, as tasks/ do."""
        path = self.root / VERDICT
        path.parent.mkdir(parents=True, exist_ok=True)
        GateVerdict(metrics_digest(self.root), 2, failed).save(path, [])
        with contextlib.suppress(QualityGateFailed), self.stage("gates"):
            if failed:
                raise QualityGateFailed("; ".join(failed))

    def copy(self, root, *ignored):
        """Copy the project to `root`, all but what has one of the names `ignored`."""
        return Project(shutil.copytree(self.root, root, ignore=shutil.ignore_patterns(*ignored)))


def make_project(root):
    (root / "artifacts/prepare").mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        np.save(root / f"artifacts/prepare/{split}.npy", np.full((2, 1, 4, 4), number, np.uint8))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": "feed.dir", "path": "data"}]}))
    return Project(root)


def write_onnx(folder, pixels):
    """An edge file whose images are sums of its latents."""
    folder.mkdir(parents=True)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [LATENT, pixels], np.ones(LATENT * pixels, np.float32))
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", LATENT])
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", pixels])
    graph = helper.make_graph([helper.make_node("MatMul", ["z", "w"], ["images"])], "g", [z], [images], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "generator.onnx")
    (folder / "card.json").write_text("{}")
    return folder / "generator.onnx"


def write_lock(root, models, parents):
    """Write dvc.lock with a stage for each of the models, paths by reference; `parents` are paths by reference too."""

    def files(*paths):
        outs = [
            path if path.suffix == ".safetensors" else path.parent for path in paths
        ]  # an export is its whole folder
        return [{"path": str(path.relative_to(root)), "md5": dvc_md5(path)} for path in outs]

    stages = {
        reference.replace("/", "@"): {
            "outs": files(path),
            "deps": files(parents[reference]) if reference in parents else [],
        }
        for reference, path in models.items()
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def set_environment(patch):
    """Nobody has named a store or a flow, and journals wait for a recorder that the test starts."""
    for name in ("MLFLOW_TRACKING_URI", "GANPRESS_FLOW_RUN_ID", "GANPRESS_RECIPE", "GANPRESS_GIT_SHA"):
        patch.delenv(name, raising=False)
    patch.setenv("GANPRESS_TRACKING", "deferred")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    set_environment(monkeypatch)


@pytest.fixture
def project(tmp_path):
    """A project of which nothing was recorded, and which has no store."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """One project for the tests that add a run of their own name: making a store takes seconds."""
    return make_project(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    """A recorded chain: candidate = teacher (same bytes) -> student -> two edge files, then evaluate. Do not change."""
    made = make_project(tmp_path_factory.mktemp("chain"))
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch)
        patch.setenv("GANPRESS_FLOW_RUN_ID", "flow-7")
        made.make_model("candidate/d8", model=made.write_model("candidate/d8", b"same"))
        teacher = made.make_model("teacher", model=made.write_model("teacher", b"same"))
        student = made.make_model("student/d2", teacher)
        folder = made.root / "artifacts/export"
        (small,), large = pack_files((write_onnx(folder / "small", 40),)), write_onnx(folder / "large", 1000)
        made.make_model("export/small", student, small)
        made.make_model("export/large", teacher, large)
        models = {"teacher": teacher, "student/d2": student, "export/small": small, "export/large": large}
        made.evaluate(models)
        made.judge()
        write_lock(made.root, models, {"student/d2": teacher, "export/small": student, "export/large": teacher})
        record_all(made.root)
    return made
