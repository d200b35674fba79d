"""The model registry: registers edge files as versions of one model, and proposes the one to ship."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganpress.errors import ConfigError
from ganpress.files.edge_files import find_edge_file, is_onnx
from ganpress.metrics.evaluated import METRICS, byte_budget, read_evaluated
from ganpress.metrics.gate_verdict import read_verdict
from ganpress.metrics.ranking import FileToShip, Table, file_to_ship, find_metric
from ganpress.metrics.version_score import Score
from ganpress.tracking.catalogue import find_model
from ganpress.tracking.journal import file_md5
from ganpress.tracking.promotion import CHAMPION, propose, version_of
from ganpress.tracking.served_models import description_of
from ganpress.tracking.store import Store

logger = logging.getLogger("ganpress")

VERSIONS_TAG = "mlflow.modelVersions"
SHIP = "ship"
"""Tag of a proposed version: why it is the file to ship, in a sentence."""


def registered_name(recipe: str | None = None) -> str:
    """Name of the registered model; each recipe has its own, so that its files do not compete with others."""
    recipe = recipe or os.environ.get("GANPRESS_RECIPE")
    return f"ganpress-edge-{Path(recipe).stem}" if recipe else "ganpress-edge"


def register_edge_models(
    root: Path, metrics: Table, max_bytes: int | None, store: Store, evaluated: bool
) -> str | None:
    """Register each edge file once, and propose the one to ship (`ganpress.tracking.promotion`).

    Args:
        root: the project's root.
        metrics: metrics of each generator by reference; those below `export/` are edge files.
        max_bytes: size limit in bytes; None sets no limit.
        store: an open store.
        evaluated: whether these metrics are new; else nothing is proposed if the model already has a champion.

    Returns:
        The reference that was proposed; None if nothing was.
    """
    edges = {reference: row for reference, row in metrics.items() if reference.startswith("export/")}
    name = registered_name()
    versions = {
        reference: version
        for reference, row in edges.items()
        if (version := _register(store, name, root, reference, row, evaluated)) is not None
    }
    if not versions or not (evaluated or version_of(store, name, CHAMPION) is None):
        return None
    found = _to_ship({reference: edges[reference] for reference in versions}, max_bytes)
    if found is None:
        return None
    score = Score.of_row(edges[found.reference], found.metric)
    propose(store, name, versions[found.reference], score, read_verdict(root))
    store.client.set_model_version_tag(name, versions[found.reference], SHIP, found.sentence)
    return found.reference


def register_latest_edge_models(root: Path, store: Store, evaluated: bool) -> None:
    """Do the same from the last results of the stage `evaluate`, if there are any."""
    if (root / METRICS).exists():
        register_edge_models(root, read_evaluated(root), byte_budget(root), store, evaluated)


def _to_ship(edges: Table, max_bytes: int | None) -> FileToShip | None:
    try:
        found = file_to_ship(edges, find_metric(edges, None), max_bytes)
    except ConfigError as error:
        logger.warning("tracking: no edge file is proposed: %s", error)
        return None
    if found is None:
        logger.warning("tracking: no edge file is proposed: none fits evaluate.max_bytes")
    return found


def _register(
    store: Store, name: str, root: Path, reference: str, row: Mapping[str, float], evaluated: bool
) -> str | None:
    """Return the version of an edge file, created if necessary; None if its file or its LoggedModel does not exist."""
    file = find_edge_file(root / "artifacts" / reference)
    model = find_model(store, file_md5(file), reference) if file else None
    if model is None:
        return None
    # MLflow itself keeps a model's versions in this tag, and its pages read them there.
    versions: list[dict[str, Any]] = json.loads(model.tags.get(VERSIONS_TAG, "[]"))
    known = [str(version["version"]) for version in versions if version["name"] == name]
    words = description_of(reference, row, is_onnx(file)) if file else ""
    if known:
        if evaluated:
            store.client.update_model_version(name, known[0], words)
        return known[0]
    _create_registered_model(store, name)
    tags = {"reference": reference, "dvc.md5": model.tags["dvc.md5"]}
    tags |= {key: model.tags[key] for key in ("git.sha", "process.host", "data.md5") if key in model.tags}
    tags |= {"size_bytes": str(int(row["size_bytes"]))} if "size_bytes" in row else {}
    made = store.client.create_model_version(
        # Not models:/<id>, which MLflow would look up in the process's global store.
        name,
        model.artifact_location,
        model.source_run_id,
        tags,
        description=words,
        model_id=model.model_id,
    )
    versions.append({"name": name, "version": int(made.version)})
    store.client.set_logged_model_tags(model.model_id, {VERSIONS_TAG: json.dumps(versions)})
    return str(made.version)


def _create_registered_model(store: Store, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        store.client.create_registered_model(name, description="Edge files, verified against torch.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
