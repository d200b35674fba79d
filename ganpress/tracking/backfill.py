"""Reconciles MLflow with dvc.lock: models that are in dvc.lock but not in MLflow are recorded from the restored
files.
"""

import csv
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ganpress.config.base import read_yaml
from ganpress.executed_code.versions import read_made
from ganpress.files.dvc_files import dvc_md5, read_lock
from ganpress.files.edge_files import edge_names, find_edge_file
from ganpress.metrics.evaluated import read_evaluated, shipped_of
from ganpress.tracking.catalogue import find_model, log_model_metrics
from ganpress.tracking.journal import Made, StageRun, dataset_identity, file_md5, journalled
from ganpress.tracking.model_registry import register_latest_edge_models
from ganpress.tracking.player import JournalPlayer
from ganpress.tracking.provenance import NOTE_TAG, reference_of, stage_tags
from ganpress.tracking.recorders import write_stamp
from ganpress.tracking.store import Store, open_store

logger = logging.getLogger("ganpress")

CURRENT_TAG = "current"
DATA_OF = {"teacher": "validation.npy", "export": "test.npy"}
"""The split that a stage reads, below artifacts/prepare/; the others read the training split."""
FAMILY_ORDER = ("candidate", "teacher", "student", "control", "supernet", "subnet", "compress", "export")
"""Order of the stages: parents come before children."""


@dataclass(frozen=True)
class LockedModel:
    """A model file that dvc.lock names."""

    stage: str
    item: str | None
    path: Path
    md5: str
    parents: tuple[Path, ...]
    """Model files that its stage read."""


def model_files() -> tuple[str, ...]:
    """Names of model files in the folder of a stage."""
    return ("generator.safetensors", "supernet.safetensors", *edge_names())


def locked_models(root: Path) -> list[LockedModel]:
    """Read the models of dvc.lock whose files are in the workspace as locked, parents first."""
    content = read_lock(root / "dvc.lock")
    found = []
    for label, entry in content.get("stages", {}).items():
        stage, _, item = label.partition("@")
        for out in entry.get("outs", []) if stage in FAMILY_ORDER else []:
            path = root / out["path"]
            file = find_edge_file(path) if stage == "export" and out["md5"].endswith(".dir") else path
            if file is not None and file.name not in model_files():
                continue
            if file is None or dvc_md5(path) != out["md5"]:
                logger.info("tracking: %s is not as locked, so it is not recorded; `dvc checkout` restores it", path)
                continue
            found.append(LockedModel(stage, item or None, file, file_md5(file), _parents(root, entry)))
    return sorted(found, key=lambda model: FAMILY_ORDER.index(model.stage))


def reconcile_store(root: Path) -> None:
    """Record every locked model that the store lacks, the metrics of all, one flow-level run, and the registry."""
    store = open_store(root)
    _end_dead_runs(store)
    if not (root / "dvc.lock").exists():
        return
    models = locked_models(root)
    params = read_yaml(root / "params.yaml")
    for model in models:
        known = find_model(store, model.md5, reference_of(model.path, root))
        if known is None or known.tags.get("reference") != reference_of(model.path, root):
            _backfill(store, root, model, params)
    _restore_metrics(store, root, params)
    mark_current(root, store)
    register_latest_edge_models(root, store, evaluated=False)
    write_stamp(root, _flow_run(store, root, models))


def mark_current(root: Path, store: Store) -> None:
    """Tag the runs whose models dvc.lock holds as current, and earlier runs of the same recipe as not."""
    if not (root / "dvc.lock").exists():
        return
    found = [find_model(store, model.md5, reference_of(model.path, root)) for model in locked_models(root)]
    current = {model.source_run_id: model.tags.get("recipe", "") for model in found if model is not None}
    for run_id in current:
        store.client.set_tag(run_id, CURRENT_TAG, "true")
    for recipe in set(current.values()):
        filter_string = f"tags.`{CURRENT_TAG}` = 'true' AND tags.recipe = '{recipe}'"
        for run in store.client.search_runs([store.experiment_id], filter_string):
            if run.info.run_id not in current:
                store.client.set_tag(run.info.run_id, CURRENT_TAG, "false")


def _parents(root: Path, entry: dict[str, Any]) -> tuple[Path, ...]:
    """Return the model files among a stage's deps; for a folder (all candidates), the file from which the output was
    copied.
    """
    files = [root / dep["path"] for dep in entry.get("deps", [])]
    outs = {out["md5"] for out in entry.get("outs", [])}
    copied = [
        file
        for folder in files
        if folder.is_dir()
        for file in folder.rglob("generator.safetensors")
        if dvc_md5(file) in outs
    ]
    return tuple([file for file in files if file.name in model_files()] + copied)


def _backfill(store: Store, root: Path, model: LockedModel, params: dict[str, Any]) -> None:
    metrics_file = model.path.with_name("metrics.json")
    metrics = json.loads(metrics_file.read_text(encoding="utf-8")) if metrics_file.exists() else {}
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    with _recorded(store, root, model.stage, model.item, params) as run:
        for parent in model.parents:
            run.uses_model(parent)
        split = root / "artifacts" / "prepare" / DATA_OF.get(model.stage, "train.npy")
        if split.exists():
            run.uses_data(split)
        for images, losses in _curve(model.path.with_name("curves.csv")):
            run.log_metrics(losses, images)
        run.log_metrics(numbers)
        for picture in sorted(model.path.parent.glob("*.png")):
            run.log_file(picture)
        own = params.get(model.stage, {}).get("items", {}).get(model.item, {})
        run.produces_model(model.path, model.stage, own, numbers)


def _curve(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Return the losses that a training wrote beside its model, by images; none if there is no readable curve."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
        return [
            (int(row["images"]), {name: float(text) for name, text in row.items() if name != "images"}) for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


@contextmanager
def _recorded(store: Store, root: Path, stage: str, item: str | None, params: dict[str, Any]) -> Iterator[StageRun]:
    """A stage run that this process journals and plays at once, as its maker's where that is known."""
    former = Made.read(read_made(root, stage, item))
    with journalled(stage, item, root, params, {"backfilled": "true"}, former) as run:
        yield run
    player = JournalPlayer(store, run.folder)
    player.play()
    player.remove()


def _restore_metrics(store: Store, root: Path, params: dict[str, Any]) -> None:
    """Log the metrics of `evaluate` to each model that lacks any of them."""
    metrics_file = root / "artifacts" / "evaluate" / "metrics.json"
    if not metrics_file.exists():
        return
    test_split = root / "artifacts" / "prepare" / "test.npy"
    source = str(params.get("data", {}).get("source", "data"))
    dataset = dataset_identity(test_split, source) if test_split.exists() else None
    table: dict[str, dict[str, float]] = json.loads(metrics_file.read_text(encoding="utf-8"))
    for reference, metrics in table.items():
        folder = root / "artifacts" / reference
        file = next((folder / name for name in model_files() if (folder / name).exists()), None)
        model = find_model(store, file_md5(file), reference) if file else None
        if model is None:
            continue
        numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
        known = {(metric.key, metric.value) for metric in model.metrics or []}
        missing = {name: value for name, value in numbers.items() if (name, value) not in known}
        log_model_metrics(store, model.model_id, missing, dataset, int(time.time() * 1000))


def _flow_run(store: Store, root: Path, models: list[LockedModel]) -> str:
    """Write the run of the flow itself, with all its final models as inputs and the metrics of the file to ship; return
    its id.
    """
    from mlflow.entities import LoggedModelInput, Metric

    tags = stage_tags("flow", root)
    ship = shipped_of(root)
    if ship is not None:
        tags |= {"ship": ship.reference, NOTE_TAG: f"{tags[NOTE_TAG]} {ship.sentence}."}
    run = store.client.create_run(store.experiment_id, tags=tags, run_name="flow")
    if ship is not None:
        now = int(time.time() * 1000)
        row = read_evaluated(root)[ship.reference]
        store.client.log_batch(run.info.run_id, [Metric(name, value, now, 0) for name, value in row.items()])
    found = [find_model(store, model.md5, reference_of(model.path, root)) for model in models]
    inputs = [LoggedModelInput(model.model_id) for model in found if model is not None]
    store.client.log_inputs(run.info.run_id, models=inputs)
    store.client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def _end_dead_runs(store: Store) -> None:
    """End runs that are RUNNING in the store although their process and journal no longer exist."""
    filter_string = f"attributes.status = 'RUNNING' AND tags.`process.host` = '{socket.gethostname()}'"
    for run in store.client.search_runs([store.experiment_id], filter_string):
        pid = run.data.tags.get("process.pid", "")
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            store.client.set_terminated(run.info.run_id, "KILLED")
