"""Images of one generator, and what the judge sees in them, kept on disk until others are compared with them."""

import shutil
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ganpress.metrics.judges.judge_output import JudgeOutput
from ganpress.metrics.samples.image_spool import ImageSpool


class SampleStore:
    """N samples, appended batch by batch: images and features in files of a new folder, classes in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.images = ImageSpool(folder / "images.uint8")
        self._features = folder / "features.float32"
        self._features.write_bytes(b"")
        self._width = 0
        self._classes: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return len(self.images)

    def append(self, images: UInt8[Tensor, "n c h w"], seen: JudgeOutput) -> None:
        """Write uint8 images and what the judge sees in them behind those that are there."""
        self.images.append(images)
        self._width = seen.features.shape[1]
        with self._features.open("ab") as file:
            file.write(np.ascontiguousarray(seen.features, np.float32).tobytes())
        if seen.probabilities is not None:
            self._classes.append(seen.probabilities.argmax(axis=1))

    @property
    def features(self) -> Float32[NDArray[np.float32], "n f"]:
        """(N, F), read from the file as far as they are looked at."""
        return np.memmap(self._features, np.float32, "c", shape=(len(self), self._width))

    @property
    def classes(self) -> Int64[NDArray[np.int64], " n"] | None:
        """(N,) the class that the judge sees in each image; None where it knows none."""
        return np.concatenate(self._classes) if self._classes else None

    def delete(self) -> None:
        """Give the disk space back; nothing can be read any more."""
        shutil.rmtree(self._folder)

    def pictures(self, samples: Int64[NDArray[np.int64], " n"]) -> UInt8[NDArray[np.uint8], "n c h w"]:
        """The images of these samples, in their order."""
        found: NDArray[np.uint8] = np.concatenate([self.images.batch(int(one), 1).numpy() for one in samples])
        return found
