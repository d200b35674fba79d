"""The distance of each sample to its k-th nearest other sample, exact and in O(N (k + block) + F block) memory."""

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from ganpress.errors import DataError
from ganpress.metrics.neighbours.distance_bounds import (
    Frame,
    blocks,
    full_precision,
    lower_bounds,
    squared_distances,
    tiles,
)

BLOCK = 512
"""Samples on each side of a tile of distances: a tile stays in the cache while it is compared."""
SPARE = 2
"""Samples kept beyond the k nearest. Where the last one's bound is above the k-th distance, none was missed."""
MISSED_BLOCK = 128
"""Rows that are taken in float64 at a time, against all samples."""
NOTHING = 0x7F800000 << 32
"""Initial value of a distance: the bits of infinity."""


@full_precision()
def squared_radii(features: Float[Tensor, "n f"], neighbours: int, block: int = BLOCK) -> Float64[Tensor, " n"]:
    """Return the squared distance of each sample to its k-th nearest other one, k = `neighbours`.

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
    found = torch.full((len(features), neighbours + SPARE), NOTHING, device=features.device)
    for rows, left, columns, right in tiles(frame, features, None, block):
        bounds = lower_bounds(left, right)
        if rows == columns:
            bounds.fill_diagonal_(torch.inf)
        else:
            _keep_nearest(found[columns], bounds.T, rows)
        _keep_nearest(found[rows], bounds, columns)
    everything = torch.arange(len(features), device=features.device)
    radii = _kth_distances(features, everything, found & 0xFFFFFFFF, neighbours, found == NOTHING)
    missed = ((frame.scaled(radii) > _bounds_of(found).amax(dim=1)) & (radii > 0)).nonzero()[:, 0]
    for part in blocks(len(missed), MISSED_BLOCK):
        radii[missed[part]] = _radii_in_float64(frame, features, missed[part], neighbours, block)
    return radii


def _keep_nearest(found: Int64[Tensor, "n kept"], bounds: Float32[Tensor, "n block"], samples: slice) -> None:
    """Keep in `found` what is nearest of it and of the bounds of some samples.

    What is found is an integer: a float32 bound's bits, which order as it does from 0 on, and below them the number of
    the sample it is of. The further the matrix is read, the fewer rows a tile has anything nearer for; only those are
    sorted.
    """
    rows = (bounds.amin(dim=1) < _bounds_of(found).amax(dim=1)).nonzero()[:, 0]
    if len(rows):
        new = bounds[rows].clamp_(min=0).view(torch.int32).long() << 32
        new |= torch.arange(samples.start, samples.stop, device=found.device)
        found[rows] = (
            torch.cat([found[rows], new], dim=1).topk(found.shape[1], dim=1, largest=False, sorted=False).values
        )


def _bounds_of(found: Int64[Tensor, "*shape"]) -> Float32[Tensor, "*shape"]:
    return (found >> 32).int().view(torch.float32)


def _kth_distances(
    features: Float[Tensor, "n f"],
    rows: Int64[Tensor, " rows"],
    partners: Int64[Tensor, "rows kept"],
    k: int,
    absent: Bool[Tensor, "rows kept"] | None = None,
) -> Float64[Tensor, " rows"]:
    """Squared distance of each row to the k-th nearest of its partners."""
    kept = partners.shape[1]
    distances = squared_distances(features, rows.repeat_interleave(kept), features, partners.reshape(-1))
    distances = distances.reshape(-1, kept)
    if absent is not None:
        distances[absent] = torch.inf
    return distances.kthvalue(k, dim=1).values


def _radii_in_float64(
    frame: Frame, features: Float[Tensor, "n f"], rows: Int64[Tensor, " rows"], k: int, block: int
) -> Float64[Tensor, " rows"]:
    """`squared_radii` of samples that many lie about, too close together for float32; the last, for float64."""
    left = frame.panel(features[rows], torch.float64)
    bounds = torch.empty(len(rows), len(features), dtype=torch.float64, device=features.device)
    for columns in blocks(len(features), block):
        bounds[:, columns] = lower_bounds(left, frame.panel(features[columns], torch.float64))
    bounds.scatter_(1, rows[:, None], torch.inf)
    nearest = bounds.topk(k + SPARE, dim=1, largest=False)
    radii = _kth_distances(features, rows, nearest.indices, k)
    for row in ((frame.scaled(radii) > nearest.values[:, -1]) & (radii > 0)).nonzero()[:, 0]:
        nearer = (bounds[row] <= frame.scaled(radii[row])).nonzero()[:, 0]
        radii[row] = _kth_distances(features, rows[row][None], nearer[None], k)[0]
    return radii
