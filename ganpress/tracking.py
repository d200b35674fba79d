"""MLflow: the only module that knows it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class StageRun:
    """The MLflow run of one stage. (Interface; being written.)"""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; `step` is images shown."""

    def log_image(self, name: str, image: NDArray[np.uint8], step: int = 0) -> None:
        """Log a picture (H, W) or (H, W, 3) uint8 as a step of `name`."""

    def log_file(self, path: Path) -> None:
        """Attach a file to the run."""

    def uses_model(self, path: Path) -> None:
        """Record the model file as an input of this run (found by the md5 of its content)."""

    def uses_data(self, path: Path) -> None:
        """Record the prepared split (`artifacts/prepare/train.npy`) as an input dataset, by digest."""

    def produces_model(
        self, path: Path, family: str, params: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> None:
        """Log the model file as this run's one LoggedModel, tagged with its md5, its parents and `family`."""


@contextmanager
def stage_run(stage: str, item: str | None, root: Path, params: Mapping[str, Any]) -> Iterator[StageRun]:
    """Open the flat MLflow run of one stage."""
    yield StageRun()
