"""What the steps of compression and export did to single samples, as values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganpress.metrics.samples.sample_changes import ClassShare


@dataclass(frozen=True)
class StepSamples:
    """N samples of one generator beside those of the generator that it was made from."""

    reference: str
    source: str
    """What it was made from."""
    feature_distance: NDArray[np.float64]
    """(N,) in spreads of the samples before the step."""
    realism_before: NDArray[np.float64]
    """(N,) likeness to real images, [0, 1]."""
    realism_after: NDArray[np.float64]
    buckets_lost: NDArray[np.float64]
    """(N,) share of hash tables in which the neighbourhood of the sample is no longer drawn."""
    classes: Sequence[ClassShare]
    """Those that lost most first; empty where the judge knows no classes."""
    before: NDArray[np.uint8]
    """(n, C, H, W) of the samples that changed most, the worst first."""
    after: NDArray[np.uint8]

    @property
    def changed_classes(self) -> list[ClassShare]:
        """Classes that are drawn more or less often than before, beyond chance."""
        return [share for share in self.classes if share.difference.excludes_zero]
