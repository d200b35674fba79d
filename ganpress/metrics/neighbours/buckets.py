"""Buckets of hash tables: who shares one, and how far samples in the same bucket lie apart.

By hand: libraries of hash tables answer with the nearest that they found, and keep to themselves who shares a bucket.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

PIECE = 256
"""Samples of a bucket on each side of a tile; larger buckets are cut."""
NUMBERS = 2**22
"""Numbers gathered for a batch of tiles, about: 16 MiB of float32."""
RATIO = 1.3
"""Buckets that share a batch of tiles differ in size by no more, so that little is padded."""


@dataclass(frozen=True)
class Occupancy:
    """One table that holds two sets: how many samples of each lie in each bucket."""

    reference_counts: Tensor
    """(buckets,)"""
    generated_counts: Tensor
    """(buckets,)"""
    reference_places: Tensor
    """(N,) bucket of each reference sample."""
    generated_places: Tensor
    """(M,) bucket of each generated sample."""


def occupancy(reference: Int64[Tensor, " n"], generated: Int64[Tensor, " m"]) -> Occupancy:
    """Count who shares a bucket, from the keys of both in one table."""
    buckets, places = torch.unique(torch.cat([reference, generated]), return_inverse=True)
    here, there = places[: len(reference)], places[len(reference) :]
    return Occupancy(
        torch.bincount(here, minlength=len(buckets)), torch.bincount(there, minlength=len(buckets)), here, there
    )


def bucket_sizes(keys: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Return the size of each sample's bucket, itself included, from keys of one table."""
    _, places, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    sizes: Tensor = counts[places]
    return sizes


@dataclass(frozen=True)
class Tiles:
    """Distances between samples that share a bucket; several tiles at a time, padded to one shape."""

    rows: Tensor
    """(t, p) samples of the first set; its length where there is none."""
    columns: Tensor
    """(t, q) samples of the second set; its length where there is none."""
    squared: Tensor
    """(t, p, q) squared distances; infinite where a sample is missing."""


def bucket_tiles(
    first: Float[Tensor, "n f"],
    second: Float[Tensor, "m f"],
    first_keys: Int64[Tensor, " n"],
    second_keys: Int64[Tensor, " m"],
    smallest: int = 1,
) -> Iterator[Tiles]:
    """Yield the distances of all pairs in shared buckets, each pair once, in memory that does not grow with the sets.

    A row occurs at most once in the same `Tiles`.

    Args:
        first: Features.
        second: Features; may be `first`.
        first_keys: Keys of one table.
        second_keys: Keys of the same table.
        smallest: Buckets with fewer samples of the second set are left out.
    """
    rows, row_keys, row_counts = _sorted_buckets(first_keys)
    columns, column_keys, column_counts = _sorted_buckets(second_keys)
    partner = torch.searchsorted(column_keys, row_keys).clamp(max=len(column_keys) - 1)
    shared = (column_keys[partner] == row_keys) & (column_counts[partner] >= smallest)
    row_starts = (row_counts.cumsum(0) - row_counts)[shared]
    column_starts = (column_counts.cumsum(0) - column_counts)[partner[shared]]
    units = _cut(row_starts, row_counts[shared], column_starts, column_counts[partner[shared]])
    for batch in _batched(units, first.shape[1]):
        mine = _members(rows, batch[0], batch[1])
        theirs = _members(columns, batch[2], batch[3])
        yield Tiles(mine, theirs, _squared_distances(first, second, mine, theirs))


def _sorted_buckets(
    keys: Int64[Tensor, " n"],
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " buckets"], Int64[Tensor, " buckets"]]:
    """Samples in the order of their buckets, and key and size of each bucket."""
    ordered, samples = keys.sort(stable=True)
    unique, counts = torch.unique_consecutive(ordered, return_counts=True)
    return samples, unique, counts


def _cut(
    row_starts: Int64[Tensor, " buckets"],
    row_counts: Int64[Tensor, " buckets"],
    column_starts: Int64[Tensor, " buckets"],
    column_counts: Int64[Tensor, " buckets"],
) -> Int64[Tensor, "5 units"]:
    """Cut buckets into pieces: row start, row count, column start, column count, and the column piece."""
    row_pieces, column_pieces = (-(-counts // PIECE) for counts in (row_counts, column_counts))
    pieces = row_pieces * column_pieces
    bucket = torch.repeat_interleave(pieces)
    local = torch.arange(len(bucket), device=bucket.device) - (pieces.cumsum(0) - pieces)[bucket]
    row, column = local % row_pieces[bucket] * PIECE, local // row_pieces[bucket] * PIECE
    return torch.stack(
        [
            row_starts[bucket] + row,
            (row_counts[bucket] - row).clamp(max=PIECE),
            column_starts[bucket] + column,
            (column_counts[bucket] - column).clamp(max=PIECE),
            column // PIECE,
        ]
    )


def _batched(units: Int64[Tensor, "5 units"], features: int) -> Iterator[Int64[Tensor, "4 t"]]:
    """Yield units of about one size and of one column piece, so that no row comes twice."""
    sizes = (units[3].double().log() / torch.tensor(RATIO).log()).ceil().long()
    group = units[4] * (int(sizes.max()) + 1 if len(sizes) else 1) + sizes
    order = torch.argsort(group * (PIECE + 1) + PIECE - units[1], stable=True)  # larger ones first in a group
    units, group = units[:, order], group[order]
    heights, widths, start = units[1].tolist(), units[3].tolist(), 0
    for end in torch.unique_consecutive(group, return_counts=True)[1].cumsum(0).tolist():
        wide = max(widths[start:end])
        while start < end:
            tall = heights[start]
            stop = min(end, start + max(1, NUMBERS // ((tall + wide) * features + tall * wide)))
            yield units[:4, start:stop]
            start = stop


def _members(
    samples: Int64[Tensor, " n"], starts: Int64[Tensor, " t"], counts: Int64[Tensor, " t"]
) -> Int64[Tensor, "t longest"]:
    """Samples of each piece; padded with the number of samples."""
    steps = torch.arange(int(counts.max()), device=samples.device)
    places = (starts[:, None] + steps).clamp(max=len(samples) - 1)
    return torch.where(steps < counts[:, None], samples[places], len(samples))


def _squared_distances(
    first: Float[Tensor, "n f"], second: Float[Tensor, "m f"], rows: Int64[Tensor, "t p"], columns: Int64[Tensor, "t q"]
) -> Float[Tensor, "t p q"]:
    """Squared distances, taken about one sample of each bucket: near samples keep their digits."""
    y = second[columns.clamp(max=len(second) - 1)]
    centre = y[:, :1].clone()
    y -= centre
    if first is second and torch.equal(rows, columns):  # a whole bucket with itself
        x = y
    else:
        x = first[rows.clamp(max=len(first) - 1)]
        x -= centre
    norms = torch.linalg.vecdot(x, x)[:, :, None] + torch.linalg.vecdot(y, y)[:, None]
    squared = torch.baddbmm(norms, x, y.mT, alpha=-2)
    # What is left of equal rows is rounding of the size of their norms; it must be 0, or ties fall by chance.
    squared[squared <= norms * (4 * x.shape[2] ** 0.5 * torch.finfo(x.dtype).eps)] = 0
    missing = (rows == len(first))[:, :, None] | (columns == len(second))[:, None]
    return squared.masked_fill_(missing, torch.inf)
