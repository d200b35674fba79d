"""Precision, recall, density and coverage by k nearest neighbours, exact and in O(N * block) memory.

Precision and recall are those of Kynkäänniemi et al. (2019), density and coverage those of Naeem et al. (2020). A
sample lies in a ball when its distance is *strictly* below the radius, as in the reference implementation `prdc`.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from ganpress.errors import DataError
from ganpress.metrics.inputs import Float64, Floats, Matrix, as_matrix, same_columns

BLOCK = 256
"""Samples on each side of a tile of distances: small enough that a tile stays in the cache while it is compared."""


@dataclass(frozen=True)
class Neighbourhood:
    """A reference set with the ball around each sample, computed once and used for every generator."""

    features: Floats
    """(N, F), as given: tiles are cast to float64 and centred when their turn comes."""
    centre: Float64
    """(F,) mean of the reference. Distances by inner products lose a common offset's digits; centring keeps them."""
    squared_radii: Float64
    """(N,) squared distance to the k-th nearest other sample."""
    neighbours: int


@dataclass(frozen=True)
class NeighbourScores:
    """Quality (precision, density) and diversity (recall, coverage) of a generated set, apart from each other."""

    precision: float
    """Share of generated samples inside a ball of the reference, [0, 1]."""
    recall: float
    """Share of reference samples inside a ball of the generated set, [0, 1]."""
    density: float
    """Balls of the reference that a generated sample lies in, divided by k; 1 for equal distributions, or more."""
    coverage: float
    """Share of balls of the reference that hold a generated sample, [0, 1]; 1 - 2^-k for equal distributions."""


def neighbourhood(reference: Matrix, neighbours: int, block: int = BLOCK) -> Neighbourhood:
    """Prepare the reference set (N, F) with the k = `neighbours` balls.

    Raises:
        DataError: if it has no more samples than k, or holds NaN.
    """
    features = as_matrix(reference, "the reference features", 2)
    centre: Float64 = features.mean(axis=0, dtype=np.float64)
    return Neighbourhood(features, centre, _squared_radii(features, centre, neighbours, block), neighbours)


def neighbour_scores(reference: Neighbourhood, generated: Matrix, block: int = BLOCK) -> NeighbourScores:
    """Score generated features (M, F) against a prepared reference.

    Raises:
        DataError: if M is not above k, features hold NaN, or their number differs from the reference's.
    """
    fake = as_matrix(generated, "the generated features", 2)
    same_columns(reference.features, fake)
    real, real_radii = reference.features, reference.squared_radii
    fake_radii = _squared_radii(fake, reference.centre, reference.neighbours, block)
    precise, recalled = np.zeros(len(fake), dtype=bool), np.zeros(len(real), dtype=bool)
    nearest, in_balls = np.full(len(real), np.inf), 0
    for rows in _blocks(len(real), block):
        here = real[rows] - reference.centre
        for columns in _blocks(len(fake), block):
            distances = _squared_distances(here, fake[columns] - reference.centre)
            inside = distances < real_radii[rows, None]
            precise[columns] |= inside.any(axis=0)
            in_balls += int(np.count_nonzero(inside))
            recalled[rows] |= (distances < fake_radii[columns]).any(axis=1)
            np.minimum(nearest[rows], distances.min(axis=1), out=nearest[rows])
    return NeighbourScores(
        precision=float(precise.mean()),
        recall=float(recalled.mean()),
        density=in_balls / (reference.neighbours * len(fake)),
        coverage=float((nearest < real_radii).mean()),
    )


def _squared_radii(features: Floats, centre: Float64, neighbours: int, block: int) -> Float64:
    """Return the squared distance (N,) of each sample to its k-th nearest other sample.

    The matrix of distances is symmetric, so each tile above the diagonal serves its rows and its columns.
    """
    if not 1 <= neighbours < len(features):
        raise DataError(
            f"{len(features)} samples have at most {len(features) - 1} neighbours each, {neighbours} are asked for; "
            "lower evaluate.neighbours or give it more images"
        )
    smallest = np.full((len(features), neighbours), np.inf)
    for rows, columns in combinations_with_replacement(_blocks(len(features), block), 2):
        tile = _squared_distances(features[rows] - centre, features[columns] - centre)
        if rows == columns:
            np.fill_diagonal(tile, np.inf)
        else:
            _merge(smallest[columns], tile.T)
        _merge(smallest[rows], tile)
    radii: Float64 = smallest.max(axis=1)
    return radii


def _merge(smallest: Float64, tile: Float64) -> None:
    """Keep in `smallest` (n, k) the k smallest of each of its rows and the same row of `tile` (n, block).

    The further the matrix is read, the fewer rows a tile has anything nearer for; only those are sorted.
    """
    nearer = np.flatnonzero(tile.min(axis=1) < smallest.max(axis=1))
    if len(nearer):
        k = smallest.shape[1]
        joined = np.concatenate([smallest[nearer], tile[nearer]], axis=1)
        joined.partition(k - 1, axis=1)
        smallest[nearer] = joined[:, :k]


def _squared_distances(x: Float64, y: Float64) -> Float64:
    """Squared distances (n, m) of rows, at the cost of one matrix product."""
    norms: Float64 = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)
    distances: Float64 = x @ y.T
    distances *= -2.0
    distances += norms
    # What is left of equal rows is rounding of the size of their norms; it must be 0, or ties fall by chance.
    norms *= 4 * np.sqrt(x.shape[1]) * np.finfo(np.float64).eps
    distances[distances <= norms] = 0.0
    return distances


def _blocks(count: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, count)) for start in range(0, count, block)]
