"""The models that runs make: found by content, linked to their parents, measured; edge files in the registry."""

import numpy as np
import onnxruntime
import pytest

from ganpress.files.frames import read_content
from ganpress.tracking.catalogue import search_models
from ganpress.tracking.journal import file_md5, journalled
from ganpress.tracking.known_files import known_file
from ganpress.tracking.model_registry import registered_name
from ganpress.tracking.recorder import record_all


def test_models_are_found_by_content_and_linked_to_their_parents(chain):
    models, runs = chain.models(), chain.runs()
    student = models["student@d2"]
    assert student.tags["dvc.md5"] == file_md5(chain.root / "artifacts/student/d2/generator.safetensors")
    assert student.tags["family"] == "student"
    assert student.tags["parent.name"] == "teacher"  # not the candidate, whose file has the same bytes
    assert student.tags["parent.model_id"] == models["teacher"].model_id
    assert [one.model_id for one in runs["student@d2"].inputs.model_inputs] == [models["teacher"].model_id]
    assert [one.model_id for one in runs["student@d2"].outputs.model_outputs] == [student.model_id]
    digest = runs["student@d2"].inputs.dataset_inputs[0].dataset.digest
    assert digest == file_md5(chain.root / "artifacts/prepare/train.npy")
    files = {file.path for file in chain.store.client.list_logged_model_artifacts(student.model_id)}
    assert files == {"generator.safetensors"}


def test_the_page_of_a_model_tells_its_lineage_in_links(chain):
    models = chain.models()
    ids = {name: f"{model.model_id}?workflowType=machine_learning" for name, model in models.items()}
    home = f"#/experiments/{chain.store.experiment_id}/models"
    assert models["export@small"].tags["mlflow.note.content"] == (
        f"Lineage: [teacher]({home}/{ids['teacher']}) → [student@d2]({home}/{ids['student@d2']}) → export@small"
    )


def test_evaluation_shows_on_the_models_own_row(chain):
    metrics = {(one.key, one.value): one.dataset_digest for one in chain.models()["student@d2"].metrics}
    assert metrics["is_10_judge", 8.0] == file_md5(chain.root / "artifacts/prepare/test.npy")
    assert metrics["latency_ms_p50", 0.2] is None
    assert "mse_last" not in {name for name, _ in metrics}
    runs = chain.runs()
    assert runs["student@d2"].data.metrics["fid_10_test_judge"] == 2.0
    assert runs["student@d2"].data.tags["current"] == "true"
    assert len(runs["evaluate"].inputs.model_inputs) == 4


def test_the_same_file_again_is_the_same_model(scratch):
    for _ in range(2):
        scratch.make_model("control/d2")
    record_all(scratch.root)
    assert [model.name for model in search_models(scratch.store)].count("control@d2") == 1
    runs = [scratch.store.client.get_run(run.info.run_id) for run in scratch.search("tags.`dvc.stage` = 'control@d2'")]
    outputs = [run.outputs.model_outputs[0].model_id for run in runs]
    assert len(outputs) == 2
    assert len(set(outputs)) == 1


@pytest.mark.parametrize("ending", ["", ".zst"])
def test_weights_beside_a_model_file_travel_with_it(tmp_path, ending):
    folder = tmp_path / "artifacts" / "export" / "x"
    folder.mkdir(parents=True)
    names = [f"generator.xml{ending}", f"generator.bin{ending}"]
    for name in names:
        (folder / name).write_text(name)
    with journalled("export", "x", tmp_path, {}, {}) as run:
        run.produces_model(folder / names[0], "export", {}, {})
        copied = {path.name: path.read_text() for path in run.folder.rglob("generator.*")}
    assert copied == {name: name for name in names}


def test_the_champion_is_the_edge_file_to_ship_and_predicts(chain):
    import mlflow  # seconds, and every worker collects this file

    client = chain.store.client
    version = client.get_model_version_by_alias("ganpress-edge", "champion")
    assert version.tags["reference"] == "export/small"
    assert version.tags["score.metric"] == "is_10_judge"
    assert version.tags["verdict"] == "promoted: there was no champion with a score"
    assert client.get_model_version_by_alias("ganpress-edge", "candidate").version == version.version
    assert len(client.search_model_versions("name = 'ganpress-edge'")) == 2
    session = onnxruntime.InferenceSession(read_content(chain.root / "artifacts/export/small/generator.onnx.zst"))
    z = np.random.default_rng(0).standard_normal((3, session.get_inputs()[0].shape[1])).astype(np.float32)
    predicted = mlflow.pyfunc.load_model(version.source).predict({"z": z})["images"]
    np.testing.assert_array_equal(predicted, session.run(None, {"z": z})[0])


def test_a_recipes_edge_files_are_registered_under_its_name(monkeypatch):
    assert registered_name() == "ganpress-edge"
    assert registered_name("recipes/mnist.yaml") == "ganpress-edge-mnist"
    monkeypatch.setenv("GANPRESS_RECIPE", "mnist")
    assert registered_name() == "ganpress-edge-mnist"


def test_a_file_that_no_lock_holds_is_known_by_its_digest(chain):
    path = chain.root / "artifacts/export/small/generator.onnx.zst"
    found = known_file(chain.root, file_md5(path))
    assert [one.name for one in found.way] == ["export@small", "student@d2", "teacher"]
    assert found.way[-1].md5 == file_md5(chain.root / "artifacts/teacher/generator.safetensors")
    assert found.data_md5 == "feed.dir"
    assert "flow run flow-7" in found.facts[0]
    assert known_file(chain.root, "0" * 32) is None
