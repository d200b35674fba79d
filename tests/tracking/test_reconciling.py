"""dvc.lock and the store: results in the lock that the store lacks are recorded, and no others."""

import pytest
import yaml

from ganpress.errors import DataError, ServiceUnavailable
from ganpress.files import dvc_files
from ganpress.files.dvc_files import read_lock
from ganpress.tracking import reconcile, recorders
from ganpress.tracking.backfill import reconcile_store
from ganpress.tracking.events import journals_folder
from ganpress.tracking.recorders import is_reconciled, write_stamp


def test_a_wiped_store_is_filled_again_from_dvc_lock(chain, tmp_path):
    wiped = chain.copy(tmp_path / "copy", "mlflow")
    assert not is_reconciled(wiped.root)
    reconcile_store(wiped.root)
    assert is_reconciled(wiped.root)
    runs, models = wiped.runs(), wiped.models()
    assert set(models) == {"teacher", "student@d2", "export@small", "export@large"}
    assert all(runs[name].data.tags["backfilled"] == "true" for name in models)
    assert models["student@d2"].tags["parent.name"] == "teacher"
    numbers = {(one.key, one.value) for one in models["export@small"].metrics}
    assert {("is_10_judge", 7.0), ("size_bytes", 900.0)} <= numbers
    assert {one.model_id for one in runs["flow"].inputs.model_inputs} == {one.model_id for one in models.values()}
    best = wiped.store.client.get_model_version_by_alias("ganpress-edge", "champion")
    assert best.tags["reference"] == "export/small"
    before = len(wiped.search())
    reconcile_store(wiped.root)
    assert len(wiped.search()) == before + 1  # the flow's own run, nothing recorded twice
    (wiped.root / "dvc.lock").write_text((wiped.root / "dvc.lock").read_text() + "\n")
    assert not is_reconciled(wiped.root)


def test_what_a_colleague_made_is_recorded_as_the_colleagues(chain, tmp_path, monkeypatch):
    made = chain.runs()["student@d2"]
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("GANPRESS_FLOW_RUN_ID", "flow-9")
    monkeypatch.setenv("GANPRESS_GIT_SHA", "0" * 40)
    wiped = chain.copy(tmp_path / "copy", "mlflow", ".ganpress")
    reconcile_store(wiped.root)
    found, flow = wiped.runs()["student@d2"], wiped.runs()["flow"]
    assert made.data.tags["prefect.flow_run_id"] == "flow-7"
    for tag in ("mlflow.user", "prefect.flow_run_id", "git.sha", "process.host", "recipe"):
        assert found.data.tags.get(tag) == made.data.tags.get(tag)
    assert found.info.start_time == made.info.start_time
    assert found.info.start_time <= found.info.end_time <= made.info.end_time + 1000
    curve = wiped.store.client.get_metric_history(found.info.run_id, "mse")
    assert [(point.step, point.value) for point in curve] == [(100, 0.01), (200, 0.005)]
    assert {one.dataset.name for one in found.inputs.dataset_inputs} == {"digits/train"}
    assert flow.data.tags["mlflow.user"] == "somebody-else"
    assert flow.data.metrics["size_bytes"] == 900
    assert "export/small" in flow.data.tags["mlflow.note.content"]


def test_without_a_record_of_the_maker_it_is_recorded_as_ones_own(chain, tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "somebody-else")
    # Each record has its own copy: MLflow keeps one connection for each address, which a removed store would spoil.
    for number, content in enumerate(('{"made": {"tags": {"git.sha": 3}}}', '{"made": []}', "{broken", "{}")):
        wiped = chain.copy(tmp_path / f"copy-{number}", "mlflow", ".ganpress")
        (wiped.root / "artifacts/versions/student/d2.json").write_text(content)
        reconcile_store(wiped.root)
        assert wiped.runs()["student@d2"].data.tags["mlflow.user"] == "somebody-else"


def test_a_store_without_our_run_is_not_reconciled(chain, tmp_path):
    project = chain.copy(tmp_path / "copy")
    run_id = project.runs()["teacher"].info.run_id
    write_stamp(project.root, run_id)
    assert is_reconciled(project.root)
    project.store.client.delete_run(run_id)
    assert not is_reconciled(project.root)
    write_stamp(project.root, "never recorded")
    assert not is_reconciled(project.root)
    write_stamp(project.root, project.runs()["student@d2"].info.run_id)
    assert is_reconciled(project.root)
    (journals_folder(project.root) / recorders.STAMP_FILE).write_text("{broken")
    assert not is_reconciled(project.root)


def test_reconciling_nothing_costs_nothing(chain, tmp_path, monkeypatch):
    project = chain.copy(tmp_path / "copy")
    started = []
    monkeypatch.setattr(recorders, "_start", lambda *arguments, **_: started.append(arguments))
    monkeypatch.setattr(recorders, "_wait", lambda _: None)
    reconcile(project.root, "flow-8")
    assert started == [(project.root, "--reconcile")]
    reconcile_store(project.root)
    reconcile(project.root, "flow-8")
    assert len(started) == 1


def test_a_store_that_cannot_be_made_is_said(project, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/tracking.db")
    with pytest.raises(ServiceUnavailable, match="the MLflow store .*file cannot be created"):
        reconcile_store(project.root)


def test_a_lock_that_dvc_is_writing_is_read_when_it_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "dvc.lock"
    whole = yaml.safe_dump({"stages": {"teacher": {"outs": [{"path": "a", "md5": "b"}]}}})
    # Half a key, half a list that is valid YAML, all of it.
    states = iter(["stages:\n  teach", whole[: whole.index("md5")], whole])
    path.write_text("stages:\n  teacher: {}\n  te")

    def dvc_goes_on(_seconds):
        path.write_text(next(states, whole))

    monkeypatch.setattr(dvc_files.time, "sleep", dvc_goes_on)
    assert read_lock(path) == yaml.safe_load(whole)


@pytest.mark.parametrize(("text", "reason"), [("a: [1", "cannot be read"), ("[1]", "it contains a list, not stages")])
def test_a_damaged_lock_is_said(tmp_path, monkeypatch, text, reason):
    (tmp_path / "dvc.lock").write_text(text)
    monkeypatch.setattr(dvc_files, "LOCK_SECONDS", 0.1)
    with pytest.raises(DataError, match=f"dvc.lock .*{reason}.*restore it from git, or delete it and run again"):
        read_lock(tmp_path / "dvc.lock")
