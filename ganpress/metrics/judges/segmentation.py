"""Segmentation score: how well a label map can be read back from images (mean class IoU, pixel accuracy).

Published as "mAP" by GAN Compression (Li et al. 2020) and "FCN score" or "mIoU" elsewhere: a segmentation network looks
at the generated image, and its label map is compared with the one that the image was generated from.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ganpress.errors import DataError

IGNORED = 255
"""Label id of a pixel that belongs to no class and is not counted."""
Counts = NDArray[np.int64]
LabelMaps = NDArray[np.uint8]
"""Label ids (N, H, W)."""


@dataclass(frozen=True)
class SegmentationScores:
    """Agreement of predicted with true label maps over a whole set, in [0, 1]."""

    mean_iou: float
    """Mean over classes of intersection / union; classes absent from both truth and prediction are left out."""
    pixel_accuracy: float
    class_iou: tuple[float | None, ...]
    """(K,); None for a class that is absent from both."""


class ConfusionMatrix:
    """Pixels counted by true and predicted class, over a stream of batches."""

    def __init__(self, classes: int) -> None:
        self.counts: Counts = np.zeros((classes, classes), np.int64)
        """(K, K): row = true class, column = predicted class."""

    def update(self, truth: UInt8[LabelMaps, "n ..."], predicted: UInt8[LabelMaps, "m ..."]) -> Self:
        """Count a batch of label maps; pixels that are `IGNORED` in the truth are left out.

        Raises:
            DataError: if the shapes differ, or a label id is no class.
        """
        if truth.shape != predicted.shape:
            raise DataError(
                f"label maps are {truth.shape}, those read from the images {predicted.shape}; prepare label maps and "
                "images at one size (prepare.source_size: null)"
            )
        kept = truth != IGNORED
        rows, columns = truth[kept].astype(np.int64), predicted[kept].astype(np.int64)
        classes = len(self.counts)
        largest = int(max(rows.max(initial=0), columns.max(initial=0)))
        if largest >= classes:
            raise DataError(f"a label map holds the id {largest}, but there are {classes} classes, 0 to {classes - 1}")
        self.counts += np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)
        return self

    def scores(self) -> SegmentationScores:
        """Return the scores of everything counted so far.

        Raises:
            DataError: if no pixel was counted.
        """
        total = int(self.counts.sum())
        if total == 0:
            raise DataError(f"no labelled pixel was compared: every pixel has the id {IGNORED}, which is ignored")
        hits = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        ious = tuple(float(hit / either) if either else None for hit, either in zip(hits, union, strict=True))
        present = [iou for iou in ious if iou is not None]
        return SegmentationScores(float(np.mean(present)), float(hits.sum() / total), ious)
