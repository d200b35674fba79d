"""Values of how compression and export changed single samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganpress.metrics.samples.sample_changes import ClassShare


@dataclass(frozen=True)
class StepSamples:
    """N samples of one generator, compared with those of the generator from which it was made."""

    reference: str
    source: str
    """Reference of the generator from which it was made."""
    feature_distance: NDArray[np.float64]
    """Distance of each sample to itself before the step, (N,), in spreads of the samples before it."""
    realism_before: NDArray[np.float64]
    """Realism of each sample before the step, (N,) in [0, 1]."""
    realism_after: NDArray[np.float64]
    buckets_lost: NDArray[np.float64]
    """Share of hash tables, (N,), in which no two samples share the sample's former bucket any more."""
    classes: Sequence[ClassShare]
    """Share of each class, the largest loss first; empty if the judge has no classes."""
    before: NDArray[np.uint8]
    """Images (n, C, H, W) of the samples that changed most, the worst first."""
    after: NDArray[np.uint8]

    @property
    def changed_classes(self) -> list[ClassShare]:
        """Return the classes whose share changed significantly."""
        return [share for share in self.classes if share.difference.excludes_zero]
