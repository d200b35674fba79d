"""A project that was moved or copied keeps its lineage: the store names the artifacts beside it."""

import sqlite3
from contextlib import closing

from ganpress.tracking.moved import artifacts_of, follow_move


def test_a_copy_names_its_own_artifacts_and_the_original_keeps_its(chain, tmp_path):
    copy = chain.copy(tmp_path / "elsewhere")
    before = {name: model.artifact_location for name, model in chain.models().items()}
    here = str(artifacts_of(copy.root / "mlflow" / "tracking.db"))
    models = copy.models()
    assert models
    assert all(model.artifact_location.startswith(here) for model in models.values())
    run = copy.runs()["teacher"]
    assert run.info.artifact_uri.startswith(here)
    names = [one.path for one in copy.store.client.list_artifacts(run.info.run_id)]
    assert names == [one.path for one in chain.store.client.list_artifacts(run.info.run_id)]
    for version in copy.store.client.search_model_versions("name = 'ganpress-edge'"):
        assert str(chain.root) not in f"{version.source} {getattr(version, 'storage_location', '')}"
    assert {name: model.artifact_location for name, model in chain.models().items()} == before


def test_a_store_in_its_place_is_not_touched(chain):
    assert not follow_move(chain.root / "mlflow" / "tracking.db")


def test_artifacts_that_somebody_keeps_elsewhere_stay_there(chain, tmp_path):
    database = chain.copy(tmp_path / "elsewhere").root / "mlflow" / "tracking.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = 's3://bucket/models' WHERE name = 'ganpress'")
    assert not follow_move(database)
    assert not follow_move(tmp_path / "none.db")
