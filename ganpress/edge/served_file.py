"""Loads exported files of any runtime for `mlflow.pyfunc`; MLflow itself opens only ONNX.

MLflow finds this module by its name in a registered model, so that name must stay.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganpress.edge.proof.edge_card import read_card
from ganpress.errors import CheckpointError, ConfigError
from ganpress.files.edge_files import find_edge_file
from ganpress.registries import TARGETS


class ServedFile:
    """An exported file as MLflow calls it: arrays by name in, arrays by name out."""

    def __init__(self, folder: Path) -> None:
        """Open the file in a folder and check it against its card.

        Raises:
            CheckpointError: if it is missing or damaged.
            ConfigError: if its runtime is not installed.
        """
        file = find_edge_file(folder)
        if file is None:
            raise CheckpointError(f"{folder} holds no exported generator")
        self._card = read_card(file)
        target = TARGETS[self._card.format]
        if (command := target.missing()) is not None:
            raise ConfigError(f"{file.name} needs {target.title}: {command}")
        self._run = target.open(file, 1)

    def predict(
        self,
        model_input: Mapping[str, NDArray[Any]],
        params: Mapping[str, Any] | None = None,  # noqa: ARG002 - MLflow's interface
    ) -> dict[str, NDArray[np.float32]]:
        """Return the images, float32 (N, C, H, W), for one array of inputs by its name, which MLflow has checked."""
        (reads,), (writes,) = self._card.inputs, self._card.outputs
        images = self._run(torch.from_numpy(np.ascontiguousarray(model_input[reads.name], np.float32)))
        return {writes.name: images.numpy()}


def _load_pyfunc(path: str) -> ServedFile:
    """Open the model that MLflow stored in a folder (MLflow's name for this function)."""
    return ServedFile(Path(path))
