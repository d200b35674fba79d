"""Plays journals into MLflow. It can be stopped at any time and continues where it stopped."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from functools import singledispatchmethod
from pathlib import Path

import psutil

from ganpress.basics.whole_files import write_whole
from ganpress.tracking.catalogue import ModelOrigin, find_model, make_model, measure_model
from ganpress.tracking.events import (
    EVENT,
    EVENTS_FILE,
    DatasetIdentity,
    DataUsed,
    Ended,
    Event,
    FileLogged,
    ImageLogged,
    JournalDamaged,
    MetricsLogged,
    ModelMeasured,
    ModelProduced,
    ModelUsed,
    Started,
)
from ganpress.tracking.store import Store

STATE_FILE = "played.json"
BATCH = 500
"""Number of metrics in one request; MLflow allows 1000."""


@dataclass
class _State:
    offset: int = 0
    run_id: str = ""
    name: str = ""
    pid: int = 0
    process_started: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)
    status: str = "RUNNING"


class JournalPlayer:
    """Plays one journal, live or afterwards; each journal has one player, which holds its lock."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._state = _read_state(folder / STATE_FILE)
        self._metrics: list[MetricsLogged] = []

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self._state.status != "RUNNING"

    @property
    def finished_stage(self) -> str | None:
        """DVC's name of the stage, if it succeeded."""
        return self._state.name if self._state.status == "FINISHED" else None

    @property
    def ended_stage(self) -> str | None:
        """DVC's name of the stage, if it ended by itself, with or without success."""
        return self._state.name if self._state.status in ("FINISHED", "FAILED") else None

    def play(self) -> None:
        """Play everything that has been written; a journal whose process died without an end becomes a KILLED run."""
        alive = self._writer_lives()  # This is checked before reading, so that events written in between are not lost.
        with (self._folder / EVENTS_FILE).open("rb") as journal:
            journal.seek(self._state.offset)
            for line in journal:
                if not line.endswith(b"\n"):
                    break  # The last line is incomplete: its writer is still writing it, or died.
                self._play_line(line)
                self._state.offset += len(line)
        self._flush_metrics()
        if not self.ended and not alive:
            if self._state.run_id:
                self._store.client.set_terminated(self._state.run_id, "KILLED")
            self._state.status = "KILLED"
        write_whole(self._folder / STATE_FILE, json.dumps(asdict(self._state)))

    def remove(self) -> None:
        """Delete the journal."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _writer_lives(self) -> bool:
        if not self._state.pid:
            with (self._folder / EVENTS_FILE).open("rb") as journal:
                first = journal.readline()
            if not first.endswith(b"\n"):
                return _named_process_lives(self._folder)
            started = self._read_event(first)
            if not isinstance(started, Started):
                raise JournalDamaged(f"{self._folder / EVENTS_FILE} does not begin with the start of a run")
            self._state.pid, self._state.process_started = started.pid, started.process_started
        try:
            process = psutil.Process(self._state.pid)
            same = abs(process.create_time() - self._state.process_started) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def _read_event(self, line: bytes) -> Event:
        try:
            return EVENT.validate_json(line)
        except ValueError:
            raise JournalDamaged(f"{self._folder / EVENTS_FILE} has a line that is not an event") from None

    def _play_line(self, line: bytes) -> None:
        event = self._read_event(line)
        if isinstance(event, MetricsLogged):
            self._metrics.append(event)
            if sum(len(one.values) for one in self._metrics) >= BATCH:
                self._flush_metrics()
            return
        self._flush_metrics()
        self._play(event)

    @singledispatchmethod
    def _play(self, event: Event) -> None:
        raise TypeError(f"nothing plays a {type(event).__name__}")

    @_play.register
    def _start(self, event: Started) -> None:
        if self._state.run_id:
            return
        client = self._store.client
        self._forget_former(event)
        run = client.create_run(self._store.experiment_id, event.time_ms, dict(event.tags), event.name)
        self._state.run_id, self._state.name, self._state.tags = run.info.run_id, event.name, dict(event.tags)
        from mlflow.entities import Param

        client.log_batch(self._state.run_id, params=[Param(name, value) for name, value in event.params.items()])

    def _forget_former(self, event: Started) -> None:
        """Delete the run that was started from this journal before the note of its progress was lost."""
        query = f"tags.`process.pid` = '{event.pid}' AND attributes.start_time = {event.time_ms}"
        for former in self._store.client.search_runs([self._store.experiment_id], query):
            if former.info.run_name == event.name:
                self._store.client.delete_run(former.info.run_id)

    def _flush_metrics(self) -> None:
        from mlflow.entities import Metric

        rows = [
            Metric(name, value, event.time_ms, event.step)
            for event in self._metrics
            for name, value in event.values.items()
        ]
        for first in range(0, len(rows), BATCH):
            self._store.client.log_batch(self._state.run_id, metrics=rows[first : first + BATCH])
        self._metrics = []

    @_play.register
    def _image(self, event: ImageLogged) -> None:
        from PIL import Image

        with Image.open(self._folder / event.file) as picture:
            self._store.client.log_image(
                self._state.run_id,
                picture,
                key=event.name,
                step=event.step,
                timestamp=event.time_ms,
                synchronous=True,
            )

    @_play.register
    def _file(self, event: FileLogged) -> None:
        self._store.client.log_artifact(self._state.run_id, str(self._folder / event.file))

    @_play.register
    def _model_used(self, event: ModelUsed) -> None:
        model = find_model(self._store, event.md5, event.reference)
        if model is not None:
            self._take_input(model.model_id)

    def _take_input(self, model_id: str) -> None:
        from mlflow.entities import LoggedModelInput

        if model_id not in self._state.parents:
            self._store.client.log_inputs(self._state.run_id, models=[LoggedModelInput(model_id)])
            self._state.parents.append(model_id)

    @_play.register
    def _data_used(self, event: DataUsed) -> None:
        self._take_dataset(event.dataset)

    def _take_dataset(self, identity: DatasetIdentity) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(identity.name, identity.digest, "local", json.dumps({"uri": identity.path}))
        context = InputTag("mlflow.data.context", identity.name.rpartition("/")[2])
        self._store.client.log_inputs(self._state.run_id, datasets=[DatasetInput(dataset, [context])])

    @_play.register
    def _model(self, event: ModelProduced) -> None:
        from mlflow.entities import LoggedModelOutput

        origin = ModelOrigin(self._state.run_id, self._state.tags, tuple(self._state.parents))
        model_id = make_model(self._store, event, self._folder, origin)
        client = self._store.client
        client.log_outputs(self._state.run_id, [LoggedModelOutput(model_id, 0)])
        client.set_tag(self._state.run_id, "dvc.md5", event.md5)
        client.set_tag(self._state.run_id, "family", event.family)

    @_play.register
    def _model_measured(self, event: ModelMeasured) -> None:
        if event.dataset is not None:
            self._take_dataset(event.dataset)
        model_id = measure_model(self._store, event)
        if model_id is not None:
            self._take_input(model_id)

    @_play.register
    def _end(self, event: Ended) -> None:
        client = self._store.client
        if event.error:
            client.set_tag(self._state.run_id, "error", event.error[:5000])
        client.set_terminated(self._state.run_id, event.status, event.time_ms)
        self._state.status = event.status


def _read_state(path: Path) -> _State:
    """Return how far a journal was played; the start if the note is missing or damaged."""
    try:
        return _State(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return _State()


def _named_process_lives(folder: Path) -> bool:
    """Whether the process whose number ends a journal's name is there; for a journal without a whole first line."""
    pid = folder.name.rpartition("-")[2]
    return pid.isdecimal() and psutil.pid_exists(int(pid))
