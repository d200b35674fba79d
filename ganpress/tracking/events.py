"""The events of a journal, one JSON line each."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ganpress.errors import GanpressError

EVENTS_FILE = "events.jsonl"


class JournalDamaged(GanpressError):
    """A journal contains a line that no stage wrote."""


def journals_folder(root: Path) -> Path:
    """Return the folder of the journals that no recorder has finished."""
    return root / ".ganpress" / "tracking"


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", protected_namespaces=())


class DatasetIdentity(_Event):
    """A split of prepared data, identified by its content."""

    name: str
    """Source and split, e.g. `digits/test`."""
    digest: str
    """md5 of the split's file."""
    path: str


class Started(_Event):
    """First line of each journal."""

    kind: Literal["started"] = "started"
    name: str
    """DVC's name of the stage, such as `student@d2-mse`."""
    time_ms: int
    pid: int
    process_started: float
    """Start time of the process in seconds since the epoch, because a pid can be reused."""
    params: dict[str, str]
    tags: dict[str, str]


class MetricsLogged(_Event):
    kind: Literal["metrics"] = "metrics"
    values: dict[str, float]
    step: int
    time_ms: int


class ImageLogged(_Event):
    kind: Literal["image"] = "image"
    name: str
    step: int
    file: str
    """PNG inside the journal's folder."""
    time_ms: int


class FileLogged(_Event):
    kind: Literal["file"] = "file"
    file: str


class ModelUsed(_Event):
    """An input of the run and a parent of the model that it makes."""

    kind: Literal["model_used"] = "model_used"
    md5: str
    reference: str


class DataUsed(_Event):
    kind: Literal["data_used"] = "data_used"
    dataset: DatasetIdentity


class ModelProduced(_Event):
    kind: Literal["model"] = "model"
    md5: str
    reference: str
    """Folder below artifacts/: `student/d2-mse`."""
    family: str
    files: list[str]
    """Files inside the journal's folder, the model file first."""
    params: dict[str, str]
    metrics: dict[str, float]
    time_ms: int


class ModelMeasured(_Event):
    """Metrics of a model that another stage made."""

    kind: Literal["model_measured"] = "model_measured"
    md5: str
    reference: str
    metrics: dict[str, float]
    dataset: DatasetIdentity | None
    time_ms: int


class Ended(_Event):
    """Last line of a journal; without it, the process is still running or was killed."""

    kind: Literal["ended"] = "ended"
    status: Literal["FINISHED", "FAILED"]
    error: str | None
    time_ms: int


Event = Annotated[
    Started | MetricsLogged | ImageLogged | FileLogged | ModelUsed | DataUsed | ModelProduced | ModelMeasured | Ended,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
