"""The stage's part of tracking: appends events to a journal, quickly, offline and without MLflow."""

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
from ganpress.tracking.provenance import MADE_TAGS, data_md5, flat_params, reference_of, stage_tags
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


@dataclass(frozen=True)
class Made:
    """Who made the results of a run, when, and from which code."""

    tags: Mapping[str, str]
    """Those of `MADE_TAGS` that are known."""
    started_ms: int
    ended_ms: int | None = None

    @staticmethod
    def read(content: Mapping[str, Any]) -> "Made | None":
        """Return what a stage recorded beside its results; None if it recorded nothing, or something else."""
        tags, started, ended = content.get("tags"), content.get("started_ms"), content.get("ended_ms")
        if not (isinstance(tags, dict) and isinstance(started, int) and isinstance(ended, int)):
            return None
        kept = {name: str(tags[name])[:TAG_CHARACTERS] for name in MADE_TAGS if isinstance(tags.get(name), str)}
        return Made(kept, started, ended)


NOBODY = Made({}, 0)
TAG_CHARACTERS = 5000
"""MLflow's limit on the length of a tag's value."""


class StageRun:
    """The MLflow run of one stage, written as a journal."""

    def __init__(
        self, root: Path, folder: Path | None, data_source: str, made: Made = NOBODY, ended_ms: int | None = None
    ) -> None:
        """Write below `folder`; None discards everything. `ended_ms` replaces the present time of a finished run."""
        self._made, self._ended_ms = made, ended_ms
        self._root, self._folder, self._data_source = root, folder, data_source
        self._files = 0

    @property
    def folder(self) -> Path:
        """The journal's folder."""
        if self._folder is None:
            raise ValueError("this run keeps no journal")
        return self._folder

    def made(self) -> dict[str, object]:
        """Return who makes this run's results, when and from what; empty if the run is not recorded."""
        return (
            {"tags": dict(self._made.tags), "started_ms": self._made.started_ms, "ended_ms": _now_ms()}
            if (self._folder is not None)
            else {}
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; `step` is the number of images shown."""
        self._append(MetricsLogged(values=_numbers(metrics), step=step or 0, time_ms=self._time_ms()))

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

    def uses_raw_data(self) -> None:
        """Record the raw data as an input dataset, by its digest in data.dvc; without one, nothing."""
        digest = data_md5(self._root) if self._folder is not None else None
        if digest is not None:
            raw = DatasetIdentity(name=f"{self._data_source}/raw", digest=digest, path=str(self._root / "data"))
            self._append(DataUsed(dataset=raw))

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
                time_ms=self._time_ms(),
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
        self._append(Ended(status="FINISHED" if error is None else "FAILED", error=message, time_ms=self._time_ms()))

    def _time_ms(self) -> int:
        return _now_ms() if self._ended_ms is None else self._ended_ms

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
    stage: str,
    item: str | None,
    root: Path,
    params: Mapping[str, Any],
    extra_tags: Mapping[str, str],
    former: Made | None = None,
) -> Iterator[StageRun]:
    """Write the journal of a run from its first line to its last; the caller plays it.

    Args:
        stage: name of the stage.
        item: its item, if it has items.
        root: the project's root.
        params: all parameters.
        extra_tags: tags of the run, beside those of every run.
        former: who made the results, if that is known and was not this process.
    """
    label = stage if item is None else f"{stage}@{item}"
    tags = stage_tags(label, root)
    if former is not None:
        tags = {name: value for name, value in tags.items() if name not in MADE_TAGS} | dict(former.tags)
    made = former or Made({name: tags[name] for name in MADE_TAGS if name in tags}, _now_ms())
    source = str(params.get("data", {}).get("source", "data"))
    run = StageRun(root, _new_folder(root, label), source, made, made.ended_ms)
    process = psutil.Process()
    run._append(
        Started(
            name=label,
            time_ms=made.started_ms,
            pid=process.pid,
            process_started=process.create_time(),
            params=flat_params(_own_params(stage, item, params)),
            tags=tags | {"process.pid": str(process.pid)} | dict(extra_tags),
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
