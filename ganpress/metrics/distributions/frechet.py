"""Fréchet distance between two sets of features (FID; Heusel et al. 2017)."""

import logging
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64, Floats, Matrix, as_matrix, same_columns

logger = logging.getLogger(__name__)

CHUNK = 4096
"""Samples that are cast to float64 at a time."""


@dataclass(frozen=True)
class FeatureStatistics:
    """Gaussian summary of features: all that FID needs to know of a set."""

    count: int
    mean: Float64
    """(F,)"""
    covariance: Float64
    """(F, F), unbiased (divided by count - 1)."""


class StatisticsAccumulator:
    """Mean and covariance of a stream of batches, in float64 and O(F^2) memory.

    Batches are centred on their own mean and merged pairwise (Chan et al. 1979), so a common offset of the features
    costs no precision, where the sum of outer products would lose it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: Float64 = np.zeros(0)
        self._scatter: Float64 = np.zeros((0, 0))

    def update(self, features: Matrix) -> Self:
        """Add a batch (n, F).

        Raises:
            DataError: if it holds NaN or infinity, or another number of features than the batches before.
        """
        batch = as_matrix(features, "the features").astype(np.float64, copy=False)
        mean = batch.mean(axis=0)
        centred = batch - mean
        if self._count == 0:
            self._mean, self._scatter = np.zeros_like(mean), np.zeros((len(mean), len(mean)))
        same_columns(self._scatter, batch)
        count = self._count + len(batch)
        shift = mean - self._mean
        self._scatter += centred.T @ centred
        self._scatter += np.outer(shift, shift) * (self._count * len(batch) / count)
        self._mean = self._mean + shift * (len(batch) / count)
        self._count = count
        return self

    def statistics(self) -> FeatureStatistics:
        """Return the statistics of everything added so far.

        Raises:
            DataError: if fewer than two samples were added.
        """
        if self._count < 2:
            raise DataError(f"a covariance needs at least 2 samples, found {self._count}; give it more images")
        return FeatureStatistics(self._count, self._mean.copy(), self._scatter / (self._count - 1))


def features_to_statistics(features: Matrix) -> FeatureStatistics:
    """Summarise features (N, F).

    Raises:
        DataError: if N < 2, or a feature is NaN or infinite.
    """
    matrix = as_matrix(features, "the features", 2)
    accumulator = StatisticsAccumulator()
    for start in range(0, len(matrix), CHUNK):
        accumulator.update(matrix[start : start + CHUNK])
    return accumulator.statistics()


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return ||mu_1 - mu_2||^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^{1/2}).

    The trace of the root is taken from the symmetric S_1^{1/2} S_2 S_1^{1/2}, which has the eigenvalues of S_1 S_2 but
    no imaginary part, and needs no matrix square root of a product.

    Raises:
        DataError: if the two have different numbers of features.
    """
    same_columns(first.covariance, second.covariance)
    _warn_small(first.count, second.count, len(first.mean))
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ second.covariance @ root
    overlap = float(np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum())
    return _assemble(first, second, overlap)


def frechet_distance_of_features(first: Matrix, second: Matrix) -> float:
    """Return the Fréchet distance of two sets of features (N, F) and (M, F).

    With fewer than 2 F samples the covariances are close to singular, and square roots of their tiny eigenvalues lose
    half the digits. Then the overlap is the nuclear norm of X Y^T / sqrt((N - 1)(M - 1)) with centred X and Y, which
    needs no covariance and is exact for N < F too.

    Raises:
        DataError: if a set has fewer than 2 samples, holds NaN, or the numbers of features differ.
    """
    x, y = as_matrix(first, "the first features", 2), as_matrix(second, "the second features", 2)
    same_columns(x, y)
    one, other = features_to_statistics(x), features_to_statistics(y)
    if min(len(x), len(y)) >= 2 * x.shape[1]:
        return frechet_distance(one, other)
    _warn_small(len(x), len(y), x.shape[1])
    overlap = np.linalg.norm(_triangular(x, one.mean) @ _triangular(y, other.mean).T, ord="nuc")
    return _assemble(one, other, float(overlap))


def _triangular(features: Float[Floats, "n f"], mean: Float[Float64, " f"]) -> Float[Float64, "rows f"]:
    """Return R (at most F, F) with R^T R = X^T X / (N - 1); the scatter matrix itself is never formed."""
    scaled: Float64 = (features - mean) / np.sqrt(len(features) - 1)
    triangle: Float64 = scaled if len(scaled) <= scaled.shape[1] else np.asarray(np.linalg.qr(scaled, mode="r"))
    return triangle


def _assemble(first: FeatureStatistics, second: FeatureStatistics, overlap: float) -> float:
    between = float(((first.mean - second.mean) ** 2).sum())
    within = float(np.trace(first.covariance) + np.trace(second.covariance)) - 2 * overlap
    # The distance is never negative; rounding may leave -1e-12 of the traces' size.
    return max(between + within, 0.0)


def _warn_small(count: int, other: int, features: int) -> None:
    if min(count, other) < features:
        logger.warning(
            "FID of %d and %d samples with %d features: below one sample a feature it is dominated by its bias; "
            "compare only values of the same sample counts",
            count,
            other,
            features,
        )
