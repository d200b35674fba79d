"""The MLflow store, opened once in each recorder process. This module imports MLflow."""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.errors import ServiceUnavailable, shown
from ganpress.files.sqlite_files import mark_made, remove_half_made
from ganpress.tracking.moved import EXPERIMENT, artifacts_of, follow_move
from ganpress.tracking.service import check_service, sqlite_path, tracking_uri

DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # A server that stopped answering must not block a recorder for MLflow's default of many minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


LONGEST_REASON = 300
"""Largest number of characters of MLflow's message."""


@dataclass(frozen=True)
class Store:
    """An open MLflow store and the project's experiment in it."""

    client: Any
    """`mlflow.MlflowClient`."""
    experiment_id: str


def open_store(root: Path) -> Store:
    """Open the store of the project at `root`, and create its schema and experiment if they do not exist.

    Raises:
        ServiceUnavailable: if the store cannot be used.
    """
    uri = tracking_uri(root)
    check_service(uri)
    return _open(uri)


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Convert errors of MLflow to errors of the store.

    Raises:
        ServiceUnavailable: if MLflow raises, e.g. because the user lacks permission.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = " ".join(str(error).split())
        raise ServiceUnavailable(f"the MLflow store refused it: {shown(reason, LONGEST_REASON)}") from None


@functools.cache
def _open(uri: str) -> Store:
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.utils.environment").setLevel(
        logging.ERROR
    )  # MLflow would warn for each model that pip is missing.
    database = sqlite_path(uri)
    with _creation_lock(database):
        if database is not None:
            remove_half_made(database, "runs")
            follow_move(database)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(EXPERIMENT, artifact_location=_artifact_location(uri))
        )
        if database is not None:
            mark_made(database)
    return Store(client, experiment_id)


def _creation_lock(database: Path | None) -> contextlib.AbstractContextManager[object]:
    """Let one process at a time create the schema, because several at once crash on incomplete tables."""
    if database is None:
        return contextlib.nullcontext()
    from filelock import FileLock

    return FileLock(database.with_name(f"{database.name}.lock"))


def _artifact_location(uri: str) -> str | None:
    """Return the artifact location: beside the SQLite file; a server chooses its own."""
    database = sqlite_path(uri)
    return None if database is None else str(artifacts_of(database))
