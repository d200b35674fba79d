"""The stage's part of tracking: appends events to a journal, quickly, offline and without MLflow."""

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ganpress.files.edge_files import parts_of
from ganpress.tracking.events import (
    EVENTS_FILE,
    DatasetIdentity,
    DataUsed,
    Ended,
    Event,
    FileLogged,
    ImageLogged,
    MetricsLogged,
    ModelMeasured,
    ModelProduced,
    ModelUsed,
    Started,
    journals_folder,
)
from ganpress.tracking.provenance import flat_params, reference_of, stage_tags
from ganpress.tracking.recorders import own_recorder, tracking_mode
from ganpress.tracking.service import check_service, tracking_uri

FAMILIES = {"compress": "compressed", "export": "edge"}
COMPANIONS = ("card.json", "compression.json")
"""Files that are stored with a model file if they are beside it, like all parts of an edge file."""


def file_md5(path: Path) -> str:
    """Return the md5 of a file's content, as in dvc.lock."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def dataset_identity(path: Path, source: str) -> DatasetIdentity:
    """Describe the split in a prepared file: its name from source and split, its identity from its content."""
    return DatasetIdentity(name=f"{source}/{path.stem}", digest=file_md5(path), path=str(path))


class StageRun:
    """The MLflow run of one stage, written as a journal."""

    def __init__(self, root: Path, folder: Path | None, data_source: str) -> None:
        """Write below `folder`; None discards everything."""
        self._root, self._folder, self._data_source = root, folder, data_source
        self._files = 0

    @property
    def folder(self) -> Path:
        """The journal's folder."""
        if self._folder is None:
            raise ValueError("this run keeps no journal")
        return self._folder

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; `step` is the number of images shown."""
        self._append(MetricsLogged(values=_numbers(metrics), step=step or 0, time_ms=_now_ms()))

    def log_image(self, name: str, image: NDArray[np.uint8], step: int = 0) -> None:
        """Log a picture (H, W) or (H, W, 3) uint8 as a step of `name`."""
        if self._folder is None:
            return
        from PIL import Image

        file = self._new_file(".png")
        Image.fromarray(image).save(self._folder / file)
        self._append(ImageLogged(name=name, step=step, file=file, time_ms=_now_ms()))

    def log_file(self, path: Path) -> None:
        """Attach a file to the run."""
        self._append(FileLogged(file=self._copy(path)))

    def uses_model(self, path: Path) -> None:
        """Record the model file as an input of this run (found by the md5 of its content)."""
        if self._folder is not None:
            self._append(ModelUsed(md5=file_md5(path), reference=reference_of(path, self._root)))

    def uses_data(self, path: Path) -> None:
        """Record the prepared split (`artifacts/prepare/train.npy`) as an input dataset, by digest."""
        if self._folder is not None:
            self._append(DataUsed(dataset=dataset_identity(path, self._data_source)))

    def produces_model(self, path: Path, family: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log the model file as this run's one LoggedModel, tagged with its md5, its parents and `family`."""
        if self._folder is None:
            return
        companions = [path.with_name(name) for name in COMPANIONS if path.with_name(name).exists()]
        self._append(
            ModelProduced(
                md5=file_md5(path),
                reference=reference_of(path, self._root),
                family=FAMILIES.get(family, family),
                files=[self._copy(file) for file in [*parts_of(path), *companions]],
                params=flat_params(params),
                metrics=_numbers(metrics),
                time_ms=_now_ms(),
            )
        )

    def measures_model(self, path: Path, metrics: Mapping[str, float], dataset_path: Path | None = None) -> None:
        """Log metrics to the LoggedModel of `path`, whichever stage made it, bound to the split they were taken on.

        `dataset_path` defaults to the prepared test split.
        """
        if self._folder is None:
            return
        split = dataset_path or self._root / "artifacts" / "prepare" / "test.npy"
        self._append(
            ModelMeasured(
                md5=file_md5(path),
                reference=reference_of(path, self._root),
                metrics=_numbers(metrics),
                dataset=dataset_identity(split, self._data_source) if split.exists() else None,
                time_ms=_now_ms(),
            )
        )

    def _end(self, error: BaseException | None) -> None:
        message = None if error is None else f"{type(error).__name__}: {error}"
        self._append(Ended(status="FINISHED" if error is None else "FAILED", error=message, time_ms=_now_ms()))

    def _append(self, event: Event) -> None:
        if self._folder is None:
            return
        with (self._folder / EVENTS_FILE).open("a", encoding="utf-8") as journal:
            journal.write(event.model_dump_json() + "\n")

    def _new_file(self, suffix: str) -> str:
        self._files += 1
        return f"{self._files}{suffix}"

    def _copy(self, path: Path) -> str:
        """Copy `path` into the journal: DVC may remove the original before it is recorded."""
        if self._folder is None:
            return ""
        target = self._folder / self._new_file("") / path.name
        target.parent.mkdir()
        shutil.copyfile(path, target)
        return str(target.relative_to(self._folder))


@contextmanager
def stage_run(stage: str, item: str | None, root: Path, params: Mapping[str, Any]) -> Iterator[StageRun]:
    """Open the flat MLflow run of one stage; it ends FAILED if the block raises.

    Raises:
        ServiceUnavailable: before any work, if the tracking store cannot be used.
    """
    mode = tracking_mode()
    if mode == "off":
        yield StageRun(root, None, "")
        return
    check_service(tracking_uri(root))
    with contextlib.ExitStack() as recorder, journalled(stage, item, root, params, {}) as run:
        recorder.enter_context(own_recorder(root, run.folder, mode))
        yield run


@contextmanager
def journalled(
    stage: str, item: str | None, root: Path, params: Mapping[str, Any], extra_tags: Mapping[str, str]
) -> Iterator[StageRun]:
    """Write the journal of a run from its first line to its last; the caller plays it."""
    label = stage if item is None else f"{stage}@{item}"
    run = StageRun(root, _new_folder(root, label), str(params.get("data", {}).get("source", "data")))
    process = psutil.Process()
    run._append(
        Started(
            name=label,
            time_ms=_now_ms(),
            pid=process.pid,
            process_started=process.create_time(),
            params=flat_params(_own_params(stage, item, params)),
            tags=stage_tags(label, root) | {"process.pid": str(process.pid)} | dict(extra_tags),
        )
    )
    try:
        yield run
    except BaseException as error:
        run._end(error)
        raise
    run._end(None)


def _own_params(stage: str, item: str | None, params: Mapping[str, Any]) -> dict[str, Any]:
    section = dict(params.get(stage, {}))
    own_item: dict[str, Any] = section.pop("items", {}).get(item, {})
    return {"seed": params.get("seed")} | section | own_item


def _new_folder(root: Path, label: str) -> Path:
    """Create the journal's folder; names sort by start time, so that parents are recorded before their children."""
    name = f"{time.time_ns()}-{re.sub(r'[^A-Za-z0-9_.@-]', '_', label)}-{os.getpid()}"
    folder = journals_folder(root) / name
    folder.mkdir(parents=True)
    return folder


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _now_ms() -> int:
    return int(time.time() * 1000)
