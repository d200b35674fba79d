"""Manages LoggedModels: finds them by the content of their file, creates each once, and adds measurements later."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.files.edge_files import is_onnx
from ganpress.files.onnx_files import read_onnx
from ganpress.metrics.ranking import is_cost
from ganpress.tracking.events import DatasetIdentity, ModelMeasured, ModelProduced
from ganpress.tracking.provenance import NOTE_TAG, name_of
from ganpress.tracking.served_models import example_of, signature_of, tensors_of_card, tensors_of_onnx
from ganpress.tracking.store import Store

PAGES = "workflowType=machine_learning"
"""Tag without which MLflow's pages open in the mode for chat applications."""
CARD = "card.json"
LOADER = "ganpress.edge.served_file"
"""Module by which MLflow opens files of runtimes that it does not know."""
MODEL_FACTS = ("parameters", "size_bytes", "macs_exact")
"""Metrics of a stage that are added to the row of its model; losses stay with the run, because they would fill the
table."""


@dataclass(frozen=True)
class ModelOrigin:
    """The run that makes a model, and the inputs of that run."""

    run_id: str
    tags: Mapping[str, str]
    parents: tuple[str, ...]
    """Model ids."""


def find_model(store: Store, md5: str, reference: str) -> Any | None:
    """Find the LoggedModel of a file by its md5; among several with equal content, prefer the one of `reference`.

    For example, the teacher's file is a copy of the best candidate's.
    """
    found = list(search_models(store, f"tags.`dvc.md5` = '{md5}'"))
    named = [model for model in found if model.tags.get("reference") == reference]
    return next(iter(named or found), None)


def search_models(store: Store, filter_string: str | None = None) -> Iterator[Any]:
    """Yield all LoggedModels that pass the filter, newest first."""
    token = None
    while True:
        page = store.client.search_logged_models([store.experiment_id], filter_string, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def make_model(store: Store, produced: ModelProduced, journal: Path, origin: ModelOrigin) -> str:
    """Create the LoggedModel of a file, or use the existing one of the same file, and return its id."""
    known = find_model(store, produced.md5, produced.reference)
    if known is not None and known.tags.get("reference") == produced.reference:
        model_id = str(known.model_id)
    else:
        model_id = _new_model(store, produced, journal, origin)
    facts = {name: value for name, value in produced.metrics.items() if name in MODEL_FACTS}
    log_model_metrics(store, model_id, facts, None, produced.time_ms)
    return model_id


def measure_model(store: Store, measured: ModelMeasured) -> str | None:
    """Log metrics to the LoggedModel that they belong to, and return its id; None if it is not in the store."""
    model = find_model(store, measured.md5, measured.reference)
    if model is None:
        return None
    log_model_metrics(store, model.model_id, measured.metrics, measured.dataset, measured.time_ms)
    return str(model.model_id)


def log_model_metrics(
    store: Store, model_id: str, metrics: Mapping[str, float], dataset: DatasetIdentity | None, time_ms: int
) -> None:
    """Bind metrics to a model and, where they were taken on data, to its digest.

    They are logged with the run that made the model, so that the tables of runs and of models have the same numbers.
    """
    from mlflow.entities import Metric

    run_id = store.client.get_logged_model(model_id).source_run_id
    on_data = {} if dataset is None else {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
    rows = [
        # Size and speed do not depend on the data. Without a dataset they stay in one column when the data changes.
        Metric(name, value, time_ms, 0, model_id=model_id, run_id=run_id, **({} if is_cost(name) else on_data))
        for name, value in metrics.items()
    ]
    if rows:
        store.client.log_batch(run_id, metrics=rows)


def _new_model(store: Store, produced: ModelProduced, journal: Path, origin: ModelOrigin) -> str:
    files = [journal / file for file in produced.files]
    parents = [store.client.get_logged_model(parent) for parent in origin.parents]
    tags = dict(origin.tags) | {
        "dvc.md5": produced.md5,
        "reference": produced.reference,
        "family": produced.family,
        "parent.model_id": ",".join(origin.parents),
        "parent.name": ",".join(parent.name for parent in parents),
        NOTE_TAG: _lineage_note(store, name_of(produced.reference), parents),
    }
    model = store.client.create_logged_model(
        store.experiment_id,
        name=name_of(produced.reference),
        source_run_id=origin.run_id,
        tags={name: value for name, value in tags.items() if value},
        params={"family": produced.family} | produced.params,
        model_type=produced.family,
    )
    for file in files:
        store.client.log_model_artifact(model.model_id, str(file))
    card = next((file for file in files if file.name == CARD), None)
    if is_onnx(files[0]):
        _log_onnx_flavor(store, model.model_id, files[0], card)
    elif produced.family == "edge":
        _log_runtime_flavor(store, model.model_id, files)
    store.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _lineage_note(store: Store, name: str, parents: list[Any]) -> str:
    """Return Markdown for the model's page, which shows no tags: links to the models it was made from, oldest first."""
    home = f"#/experiments/{store.experiment_id}/models"
    names, seen = [name], set[str]()
    while parents:
        made_from = [model for model in parents if model.model_id not in seen]
        seen |= {model.model_id for model in made_from}
        links = [f"[{model.name}]({home}/{model.model_id}?{PAGES})" for model in made_from]
        names += [" and ".join(links)] if links else []
        ids = [one for model in made_from for one in model.tags.get("parent.model_id", "").split(",") if one]
        parents = [store.client.get_logged_model(one) for one in dict.fromkeys(ids)]
    return f"Lineage: {' → '.join(reversed(names))}"


def _log_onnx_flavor(store: Store, model_id: str, file: Path, card: Path | None) -> None:
    """Add MLflow's ONNX flavor, decoded, so that `models:/…` loads and predicts without code of this project."""
    import tempfile

    import mlflow.onnx
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        # Without the list, MLflow would install the file into a new environment to find its requirements.
        requirements = [f"onnx=={onnx.__version__}", f"onnxruntime=={onnxruntime.__version__}"]
        proto = onnx.load_from_string(read_onnx(file))
        tensors = tensors_of_onnx(proto)
        mlflow.onnx.save_model(
            proto,
            str(folder),
            signature=signature_of(tensors),
            input_example=example_of(tensors, card),
            pip_requirements=requirements,
            save_as_external_data=False,
        )
        store.client.log_model_artifacts(model_id, str(folder))


def _log_runtime_flavor(store: Store, model_id: str, files: list[Path]) -> None:
    """Add a flavor that opens the file of another runtime with ganpress, so that `mlflow.pyfunc` loads it as well."""
    import shutil
    import tempfile
    from importlib.metadata import version

    import mlflow.pyfunc

    card = next((file for file in files if file.name == CARD), None)
    tensors = tensors_of_card(card) if card is not None else None
    if tensors is None:
        return
    with tempfile.TemporaryDirectory() as scratch:
        data, folder = Path(scratch) / "file", Path(scratch) / "model"
        data.mkdir()
        for file in files:
            shutil.copyfile(file, data / file.name)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=LOADER,
            data_path=str(data),
            signature=signature_of(tensors),
            input_example=example_of(tensors, card),
            pip_requirements=[f"ganpress=={version('ganpress')}"],
        )
        store.client.log_model_artifacts(model_id, str(folder))
