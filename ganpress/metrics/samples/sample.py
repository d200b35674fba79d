"""Inputs of a metric: features of two sets of images, or a generator with the data to score it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganpress.metrics.distributions.frechet import FeatureStatistics
from ganpress.metrics.feature_inputs import Floats
from ganpress.metrics.judges.feature_networks import Judge
from ganpress.metrics.judges.judge_output import JudgeOutput
from ganpress.metrics.samples.truth import Truth

RealSide = FeatureStatistics | Floats
"""Statistics of real images, or their features (N, F)."""


@dataclass(frozen=True)
class Sample:
    """Generated and real images, as a judge sees them."""

    features: NDArray[np.float32]
    """(N, F) of generated images."""
    real: Floats
    """(M, F) of real ones."""
    probabilities: NDArray[np.float64] | None
    """(N, K) of the classes of generated images; None where the judge knows none."""
    seed: int


@dataclass(frozen=True)
class QuickSample:
    """A generator that one number is wanted of."""

    judge: Judge
    batches: Callable[[], Iterator[Tensor]]
    """Draws its images (n, C, H, W) in [-1, 1], the same each time."""
    seen: Callable[[], JudgeOutput]
    """Returns the judge's output for them."""
    real: RealSide | None
    truth: Truth | None
    seed: int
    splits: int
    """Number of splits of the Inception Score."""
