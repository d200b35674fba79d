"""References for comparisons of single images: their real targets, label maps, or another generator's images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Int64, Shaped, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.images.similarity import mean_absolute_error, peak_signal_to_noise_ratio, structural_similarity
from ganpress.metrics.judges.segmentation import ConfusionMatrix, LabelMaps, SegmentationScores

Distance = Callable[[Tensor, Tensor], Float64]
"""Two batches of uint8 images (n, C, H, W) -> one value a pair (n,)."""


class ArrayRows(Protocol):
    """A sequence of arrays that gives rows by their indices, e.g. a memory-mapped array."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Int64[NDArray[np.int64], " n"], /) -> Shaped[NDArray[Any], "n ..."]: ...


@dataclass(frozen=True)
class Truth:
    """The reference of each input of a conditional generator, in the order of the inputs."""

    rows: NDArray[np.int64]
    """(N,) rows of the arrays below, one an input."""
    targets: ArrayRows
    """uint8 (M, C, H, W)."""
    label_maps: ArrayRows | None = None
    """uint8 (M, 1, H, W), 255 = ignored; None unless the data is semantic."""
    classes: int = 0
    """Number of label classes."""

    def targets_of(self, start: int, count: int) -> UInt8[Tensor, "n c h w"]:
        """Real images of the inputs from `start` on."""
        return torch.from_numpy(np.array(self.targets[self.rows[start : start + count]]))

    def label_maps_of(self, start: int, count: int) -> UInt8[LabelMaps, "n h w"]:
        """Label ids of the inputs from `start` on.

        Raises:
            DataError: if the data has no label maps.
        """
        if self.label_maps is None:
            raise DataError("mean class IoU needs label maps, which semantic data has; choose another metric")
        maps: LabelMaps = np.asarray(self.label_maps[self.rows[start : start + count]])[:, 0]
        return maps


@dataclass(frozen=True)
class PairScores:
    """Mean similarity of generated images to what they should be."""

    mae: float
    """Mean absolute error, in gray levels 0 … 255."""
    psnr: float
    """Mean PSNR in decibels."""
    ssim: float
    lpips: float | None
    """None without weights."""


@dataclass(frozen=True)
class TeacherDistance:
    """Mean distance of generated images to the teacher's of the same inputs."""

    mae: float
    """Mean absolute error, in gray levels 0 … 255."""
    lpips: float | None
    """None without weights."""


class PairMeter:
    """Similarities of a stream of images to their truth; only one number a pair and measure stays."""

    def __init__(self, lpips: Distance | None = None) -> None:
        self._means = _Means(
            {"mae": mean_absolute_error, "psnr": peak_signal_to_noise_ratio, "ssim": structural_similarity}, lpips
        )

    def update(self, images: UInt8[Tensor, "n c h w"], truth: UInt8[Tensor, "_ _ _ _"]) -> None:
        """Compare a batch of uint8 images with what they should be."""
        self._means.update(images, truth)

    def scores(self) -> PairScores:
        """Return the mean of each measure over all pairs."""
        means = self._means.values()
        return PairScores(means["mae"], means["psnr"], means["ssim"], means.get("lpips"))


class TeacherMeter:
    """Distances of a stream of images to the teacher's."""

    def __init__(self, lpips: Distance | None = None) -> None:
        self._means = _Means({"mae": mean_absolute_error}, lpips)

    def update(self, images: UInt8[Tensor, "n c h w"], teachers: UInt8[Tensor, "_ _ _ _"]) -> None:
        """Compare a batch of uint8 images with the teacher's of the same inputs."""
        self._means.update(images, teachers)

    def scores(self) -> TeacherDistance:
        """Return the mean of each measure over all pairs."""
        means = self._means.values()
        return TeacherDistance(means["mae"], means.get("lpips"))


class _Means:
    def __init__(self, measures: dict[str, Distance], lpips: Distance | None) -> None:
        self._measures = measures if lpips is None else measures | {"lpips": lpips}
        self._values: dict[str, list[Float64]] = {name: [] for name in self._measures}

    def update(self, images: UInt8[Tensor, "n c h w"], others: UInt8[Tensor, "_ _ _ _"]) -> None:
        for name, measure in self._measures.items():
            self._values[name].append(measure(images, others))

    def values(self) -> dict[str, float]:
        return {name: float(np.concatenate(values).mean()) for name, values in self._values.items()}


class SegmentationMeter:
    """Label maps that a judge reads from a stream of images, against the true ones."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._matrix = ConfusionMatrix(truth.classes)
        self._seen = 0

    def update(self, label_maps: UInt8[LabelMaps, "n h w"]) -> None:
        """Count the label maps of the next n images."""
        self._matrix.update(self._truth.label_maps_of(self._seen, len(label_maps)), label_maps)
        self._seen += len(label_maps)

    def scores(self) -> SegmentationScores:
        """Return the scores of everything counted so far."""
        return self._matrix.scores()
