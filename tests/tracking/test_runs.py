"""The run of a stage: its place in the chain, its curves and pictures, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from ganpress.tracking.recorder import record_all
from ganpress.tracking.recorders import has_pending

CHECKOUT = Path(__file__).resolve().parents[2]


def test_each_stage_is_one_flat_run_with_its_tags_and_parameters(chain):
    runs = chain.runs()
    assert set(runs) == {"candidate@d8", "teacher", "student@d2", "export@small", "export@large", "evaluate", "gates"}
    assert len(chain.search()) == len(runs)
    student = runs["student@d2"]
    assert student.info.status == "FINISHED"
    assert "mlflow.parentRunId" not in student.data.tags
    expected = {"dvc.stage": "student@d2", "data.md5": "feed.dir", "prefect.flow_run_id": "flow-7", "recipe": "default"}
    assert expected.items() <= student.data.tags.items()
    assert student.data.params == {"seed": "1", "training.beta1": "0.5", "depth": "2"}
    assert not has_pending(chain.root)


def test_curves_and_pictures_keep_their_steps(chain):
    client, run = chain.store.client, chain.runs()["student@d2"]
    history = client.get_metric_history(run.info.run_id, "mse")
    assert [(point.step, point.value) for point in history] == [(100, 0.01), (200, 0.005)]
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images") if file.path.endswith(".png")]
    assert sorted(path.split("+step+")[1].split("+")[0] for path in images) == ["100", "200"]


def test_a_failed_stage_ends_failed_and_says_why(scratch):
    def fail():
        with scratch.stage("student", "failed") as run:
            run.log_metrics({"mse": 1.0})
            raise RuntimeError("no more paper")

    with pytest.raises(RuntimeError):
        fail()
    record_all(scratch.root)
    run = scratch.runs()["student@failed"]
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "RuntimeError: no more paper"
    assert run.data.metrics["mse"] == 1.0


def test_a_killed_stage_ends_killed_and_keeps_what_it_said(scratch):
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom ganpress.tracking import stage_run\n"
        "with stage_run('student', 'killed', Path(sys.argv[1]), {}) as run:\n"
        "    run.log_metrics({'mse': 3.0}, 7)\n    os._exit(9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(scratch.root)], cwd=CHECKOUT, check=False)
    assert killed.returncode == 9
    record_all(scratch.root)
    run = scratch.runs()["student@killed"]
    assert run.info.status == "KILLED"
    assert run.data.metrics["mse"] == 3.0
    assert not has_pending(scratch.root)


def test_a_running_stage_is_recorded_while_it_runs_and_once(scratch):
    with scratch.stage("student", "live") as run:
        run.log_metrics({"mse": 2.0}, 1)
        record_all(scratch.root)
        assert scratch.runs()["student@live"].info.status == "RUNNING"
        run.log_metrics({"mse": 1.0}, 2)
    record_all(scratch.root)
    (found,) = scratch.search("tags.`dvc.stage` = 'student@live'")
    assert found.info.status == "FINISHED"
    history = scratch.store.client.get_metric_history(found.info.run_id, "mse")
    assert [point.step for point in history] == [1, 2]
