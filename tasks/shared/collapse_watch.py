"""Warns during training if a generator draws the same few pictures for all inputs."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpress.basics.seeding import numpy_generator
from ganpress.data.pictures import image_grid, save_png
from ganpress.data.prepared.arrays import open_split
from ganpress.metrics.images.variety import variety_ratio
from tasks.shared.stage import Stage

logger = logging.getLogger("ganpress")

COLLAPSED = 0.1
"""Share of the real pictures' variety below which a generator has collapsed.

It was measured in the nine trainings of `ganpress run` with the default parameters (metric `variety` in MLflow), from
their first quarter on: 0.66 to 1.2 for candidates, students and the sub-generator, at least 0.44 for the control of
depth 4. The control of depth 2, which learns slowly, begins at 0.19 and ends at 0.52.
"""


class CollapseWatch:
    """Compares a generator's sample grids with real pictures during its training, and warns once.

    Args:
        stage: stage that trains the generator.
        prepared: folder of its training data.
    """

    def __init__(self, stage: Stage, prepared: Path) -> None:
        self._stage, self._prepared = stage, prepared
        self._warned = False
        self._real: NDArray[np.uint8] | None = None

    def look(self, pictures: NDArray[np.uint8], images_shown: int) -> float:
        """Return the variety of `pictures`, uint8 (N, C, H, W), relative to real ones; warn if it is too small."""
        ratio = variety_ratio(pictures, self._reference(len(pictures)))
        if ratio < COLLAPSED and not self._warned:
            self._warned = True
            grid = self._stage.checkpoints / f"{self._stage.label}-collapsed.png"
            grid.parent.mkdir(parents=True, exist_ok=True)
            save_png(grid, image_grid(pictures))
            logger.warning(
                "%s: after %s images the generator has collapsed: it draws nearly the same picture for every "
                "input (their variety is %.0f %% of that of real pictures; see %s). Stop the training, and try "
                "another seed, a lower "
                "generator_learning_rate, objective: wgan, or augment: diffaugment",
                *(self._stage.label, f"{images_shown:,}", 100 * ratio, grid),
            )
        return ratio

    def _reference(self, count: int) -> NDArray[np.uint8]:
        if self._real is None:
            split = open_split(self._prepared, "train")
            rows = numpy_generator(self._stage.seed, "variety").choice(
                len(split), min(count, len(split)), replace=False
            )
            self._real = np.array(split.pixels[np.sort(rows)])
        return self._real
