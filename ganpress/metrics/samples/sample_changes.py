"""Measures the changes of single samples by a compression or export, on the same inputs before and after it.

Means over a set hide that a step may spare most images and ruin a few, or that it draws one class where there were two.
So each input's image after the step is compared with the one before: in features of the judge, in pixels, by its
likeness to real images, by its class; and each image before the step is asked whether its neighbourhood is still drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.images.similarity import mean_absolute_error
from ganpress.metrics.intervals.bootstrap import compare
from ganpress.metrics.intervals.interval import LEVEL, Interval
from ganpress.metrics.neighbours.hashed import hash_reference, score_hashed
from ganpress.metrics.samples.sample_store import SampleStore

BATCH = 500
"""Samples compared at a time."""
FEWEST = 4
"""Samples below which neighbourhoods mean nothing."""

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class SampleChanges:
    """Changes of N samples, row i of one input."""

    feature_distance: Float64
    """(N,) Euclidean, in units of the root mean square distance of samples before the step from their mean: 0 is
    unchanged, about 1.4 is another image altogether.
    """
    pixel_distance: Float64
    """(N,) mean absolute difference, gray levels 0 … 255."""
    buckets_before: Float64
    """(N,) share of hash tables in which the sample's bucket holds another sample before the step."""
    buckets_after: Float64
    """(N,) share of hash tables in which the same bucket holds two samples after it."""
    classes_before: Classes | None
    """(N,) None where the judge knows no classes."""
    classes_after: Classes | None

    @property
    def buckets_lost(self) -> Float[Float64, " n"]:
        """(N,) share of tables in which the neighbourhood of the sample is no longer drawn, [0, 1]."""
        lost: Float64 = (self.buckets_before - self.buckets_after).clip(min=0)
        return lost

    @property
    def modes_kept(self) -> float | None:
        """Share of the neighbourhoods before the step that are still drawn, 1 for equal sets; None without any."""
        whole = float(self.buckets_before.sum())
        return float(self.buckets_after.sum()) / whole if whole > 0 else None

    @property
    def class_kept(self) -> float | None:
        """Share of samples whose class is the one before; None without classes."""
        if self.classes_before is None or self.classes_after is None:
            return None
        return float((self.classes_before == self.classes_after).mean())

    def worst(self, count: int) -> Int64[NDArray[np.int64], " worst"]:
        """Samples that changed most in features, the worst first."""
        order: NDArray[np.int64] = np.argsort(-self.feature_distance, kind="stable")[:count]
        return order


def sample_changes(before: SampleStore, after: SampleStore, seed: int) -> SampleChanges:
    """Compare two generators' images of the same inputs.

    Args:
        before: Samples of the generator that the step was applied to.
        after: Samples of what the step made of it, input by input the same.
        seed: Seed of the hashes that neighbourhoods are made of.

    Raises:
        DataError: if the two differ in number or shape, or features hold NaN.
    """
    if len(before) != len(after):
        raise DataError(
            f"{len(before)} samples before and {len(after)} after a step do not pair; draw both from the same inputs"
        )
    spread = _spread(before)
    features, pixels = [], []
    for rows in _batches(len(before)):
        difference = after.features[rows].astype(np.float64) - before.features[rows]
        features.append(np.linalg.norm(difference, axis=1) / spread)
        size = rows.stop - rows.start
        pixels.append(mean_absolute_error(after.images.batch(rows.start, size), before.images.batch(rows.start, size)))
    return SampleChanges(
        np.concatenate(features),
        np.concatenate(pixels),
        *_buckets(before, after, seed),
        before.classes,
        after.classes,
    )


def _spread(samples: SampleStore) -> float:
    """Root mean square distance from the mean; 1 where all samples are equal."""
    features = samples.features
    centre = features.mean(axis=0, dtype=np.float64)
    squares = sum(float(((features[rows] - centre) ** 2).sum()) for rows in _batches(len(samples)))
    return float(np.sqrt(squares / len(samples))) or 1.0


def _buckets(before: SampleStore, after: SampleStore, seed: int) -> tuple[Float[Float64, " n"], Float[Float64, " n"]]:
    """Shares of tables whose bucket holds two samples, before and after; zeros where all samples are equal."""
    features = before.features
    equal = all(bool((features[rows] == features[:1]).all()) for rows in _batches(len(before)))
    if len(before) < FEWEST or equal:
        return np.zeros(len(before)), np.zeros(len(before))
    hashed = hash_reference(features, seed)
    return score_hashed(hashed, features).reference_scores, score_hashed(hashed, after.features).reference_scores


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


@dataclass(frozen=True)
class ClassShare:
    """Share of one class among a generator's images before and after a step."""

    name: str
    before: float
    after: float
    difference: Interval
    """After less before; the class was lost or gained where it excludes zero. All classes share one level (Bonferroni):
    that any of them seems to have changed by chance is as unlikely as it would be for one alone.
    """


def class_shares(before: Sequence[str], after: Sequence[str], seed: int) -> list[ClassShare]:
    """Return the share of each class among samples (N,) before and after a step, those that lost most first.

    Raises:
        DataError: if the two differ in number, or there are fewer than two.
    """
    old, new = np.asarray(before), np.asarray(after)
    names = sorted({*before, *after})
    level = 1 - (1 - LEVEL) / max(1, len(names))
    shares = []
    for name in names:
        one, other = (new == name).astype(np.float64), (old == name).astype(np.float64)
        difference = compare(one, other, seed, paired=True, level=level)
        shares.append(ClassShare(name, float(other.mean()), float(one.mean()), difference))
    return sorted(shares, key=lambda share: share.difference.estimate)
