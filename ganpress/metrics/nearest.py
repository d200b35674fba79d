"""The distance of each sample to its k-th nearest other sample, exact and in O(N k + block^2) memory."""

import numpy as np
from numpy.typing import NDArray

from ganpress.errors import DataError
from ganpress.metrics.distances import Frame, Indices, blocks, lower_bounds, squared_distances
from ganpress.metrics.inputs import Float64, Floats

BLOCK = 512
"""Samples on each side of a tile of distances: a tile stays in the cache while it is compared."""
SPARE = 2
"""Samples kept beyond the k nearest. Where the last one's bound is above the k-th distance, none was missed."""

Found = NDArray[np.int64]
"""A lower bound's float32 bits, which order as it does from 0 on, and below them the number of the sample it is of."""
NOTHING = int(np.float32(np.inf).view(np.int32)) << 32


def squared_radii(features: Floats, neighbours: int, block: int = BLOCK) -> Float64:
    """Return the squared distance (N,) of each sample (N, F) to its k-th nearest other one, k = `neighbours`.

    The matrix of distances is symmetric, so each tile above the diagonal serves its rows and its columns.

    Raises:
        DataError: if there are no more samples than k.
    """
    if not 1 <= neighbours < len(features):
        raise DataError(
            f"{len(features)} samples have at most {len(features) - 1} neighbours each, {neighbours} are asked for; "
            "lower evaluate.neighbours or give it more images"
        )
    frame = Frame.around(features)
    found = np.full((len(features), neighbours + SPARE), NOTHING)
    for rows in blocks(len(features), block):
        left = frame.panel(features[rows])
        for columns in blocks(len(features), block, rows.start):
            bounds = lower_bounds(left, left if rows == columns else frame.panel(features[columns]))
            if rows == columns:
                np.fill_diagonal(bounds, np.inf)
            else:
                _keep_nearest(found[columns], bounds.T, rows)
            _keep_nearest(found[rows], bounds, columns)
    radii = _kth_distances(features, np.arange(len(features)), found & 0xFFFFFFFF, neighbours, found == NOTHING)
    missed = np.flatnonzero((frame.scaled(radii) > _bounds_of(found).max(axis=1)) & (radii > 0))
    for part in blocks(len(missed), block):
        radii[missed[part]] = _radii_in_float64(frame, features, missed[part], neighbours, block)
    return radii


def _keep_nearest(found: Found, bounds: Floats, samples: slice) -> None:
    """Keep in `found` (n, kept) what is nearest of it and of the bounds (n, block) of some samples.

    The further the matrix is read, the fewer rows a tile has anything nearer for; only those are sorted.
    """
    rows = np.flatnonzero(bounds.min(axis=1) < _bounds_of(found).max(axis=1))
    if len(rows):
        bits = np.maximum(bounds[rows], 0).view(np.int32).astype(np.int64)
        bits <<= 32
        bits |= np.arange(samples.start, samples.stop)
        joined = np.concatenate([found[rows], bits], axis=1)
        joined.partition(found.shape[1] - 1, axis=1)
        found[rows] = joined[:, : found.shape[1]]


def _bounds_of(found: Found) -> Floats:
    return (found >> 32).astype(np.int32).view(np.float32)


def _kth_distances(
    features: Floats, rows: Indices, partners: Indices, k: int, absent: NDArray[np.bool_] | None = None
) -> Float64:
    """Squared distance (n,) of each row to the k-th nearest of its partners (n, kept)."""
    kept = partners.shape[1]
    distances = squared_distances(features, rows.repeat(kept), features, partners.reshape(-1)).reshape(-1, kept)
    if absent is not None:
        distances[absent] = np.inf
    distances.partition(k - 1, axis=1)
    return distances[:, k - 1]


def _radii_in_float64(frame: Frame, features: Floats, rows: Indices, k: int, block: int) -> Float64:
    """`squared_radii` (n,) of samples that many lie about, too close together for float32; the last, for float64."""
    left = frame.panel(features[rows], np.float64)
    panels = (frame.panel(features[columns], np.float64) for columns in blocks(len(features), block))
    bounds = np.hstack([lower_bounds(left, right) for right in panels])
    bounds[np.arange(len(rows)), rows] = np.inf
    order = np.argpartition(bounds, k + SPARE - 1, axis=1)
    radii = _kth_distances(features, rows, order[:, : k + SPARE], k)
    last = np.take_along_axis(bounds, order[:, k + SPARE - 1 : k + SPARE], axis=1)[:, 0]
    for row in np.flatnonzero((frame.scaled(radii) > last) & (radii > 0)):
        others = np.delete(np.arange(len(features)), rows[row])
        radii[row] = _kth_distances(features, rows[row : row + 1], others[None], k)[0]
    return radii
