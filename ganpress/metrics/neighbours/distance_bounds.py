"""Tests for near samples: bounds in float32, which is twice as fast, and exact float64 if the bounds do not decide.

`|x - y|^2 = |x|^2 + |y|^2 - 2 x.y` is one matrix product. In float32 it is off by at most a known share of
`|x|^2 + |y|^2`: n products, summed in any order, are off by at most n roundings of their absolute sum (Higham 2002,
section 3.1). With that share taken off it is a lower bound, and few pairs are left that bounds do not decide.

By hand: scikit-learn's and faiss's neighbours keep float32's rounding, and a sample on a ball's edge falls either way.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

CHUNK = 256
"""Features summed by one product: the error of a sum grows with its length, not with the number of features."""
CENTRED_ON = 1024
"""Samples, at most, whose medians are the centre: any point is sound, one amid the samples gives the best bounds."""
LARGEST_EXPONENT = 126
"""Largest exponent of a scale in float32."""
DENSE = 16
"""If more than one of this number of pairs in a tile is undecided in float32, the tile is computed in float64."""
GROUP = 8
"""Blocks that stay prepared while all others pass."""
NUMBERS = 2**18
"""Numbers that are held in float64 at a time."""


@dataclass(frozen=True)
class Panel:
    """Samples (n, F) of a set, prepared for `lower_bounds`."""

    features: Tensor
    """(n, F), as given."""
    scaled: Tensor
    """(n, F) about the frame's centre, in its scale and the precision of the bounds."""
    norms: Tensor
    """(n,) float64, squared norms of the scaled samples."""
    slack: Tensor
    """(n,) float64: what a pair's squared distance may be off by is at most the sum of its two."""


@dataclass(frozen=True)
class Frame:
    """A centre and a scale that bring all numbers of the sets within -1 … 1: in float32 none overflows there."""

    centre: Tensor
    """(F,) amid the samples: products lose the digits of an offset that all of them share."""
    scale: float
    """A power of two: multiplying by it rounds nothing; what underflows is in the slack."""

    @classmethod
    def around(cls, *sets: Float[Tensor, "_ f"]) -> "Frame":
        """Return the frame of some sets, centred on the first: on its medians, which no outlier moves."""
        centre = sets[0][:: -(-len(sets[0]) // CENTRED_ON)].median(dim=0).values
        largest = max(
            float((part[rows].double() - centre).abs().max())
            for part in sets
            for rows in blocks(len(part), _rows_at_once(part))
        )
        return cls(centre, 2.0 ** min(LARGEST_EXPONENT, -math.ceil(math.log2(largest))) if largest > 0 else 1.0)

    def panel(self, features: Float[Tensor, "n f"], precision: torch.dtype = torch.float32) -> Panel:
        """Prepare samples for bounds in float32 or float64."""
        widest = torch.promote_types(torch.promote_types(features.dtype, self.centre.dtype), precision)
        scaled = (features.to(widest) * self.scale - self.centre.to(widest) * self.scale).to(precision)
        count, numbers = scaled.shape[1], torch.finfo(precision)
        parts = [scaled[:, part] for part in blocks(count, CHUNK)]
        norms = torch.stack([torch.linalg.vecdot(part, part).double() for part in parts]).sum(dim=0)
        # of a chunk's sums of products and of squares, of the sums of chunks, of samples and what else there is
        roundings = 2 * (min(count, CHUNK) + len(parts)) + 24
        slack = roundings * numbers.eps / 2 * norms + 4 * count * numbers.tiny
        return Panel(features, scaled, norms, slack)

    def scaled(self, squared: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Bring squared distances into the frame's scale."""
        return squared * self.scale**2


def tiles(
    frame: Frame, first: Float[Tensor, "n f"], second: Float[Tensor, "m f"] | None, block: int
) -> Iterator[tuple[slice, Panel, slice, Panel]]:
    """Yield rows of one set with columns of another, by blocks; of one alone, each two blocks once."""
    others = first if second is None else second
    for group in blocks(len(others), GROUP * block):
        prepared = [(columns, frame.panel(others[columns])) for columns in blocks(group.stop, block, group.start)]
        for rows in blocks(group.stop if second is None else len(first), block):
            left = frame.panel(first[rows])
            for columns, right in prepared:
                if second is not None or rows.start <= columns.start:
                    yield rows, left, columns, right


@contextmanager
def full_precision() -> Iterator[None]:
    """Let no product of float32 be taken in TF32 or bfloat16, as a user may allow: its bounds would not hold."""
    products = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # untyped
    before = [one.fp32_precision for one in products]
    try:
        for one in products:
            one.fp32_precision = "ieee"
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for one, value in zip(products, before, strict=True):
            one.fp32_precision = value


def lower_bounds(left: Panel, right: Panel) -> Float[Tensor, "n m"]:
    """Bound the squared distances of two panels from below, in their frame's scale.

    They are too low by at most twice the two samples' slack, in `full_precision`.
    """
    precision, parts = left.scaled.dtype, list(blocks(left.scaled.shape[1], CHUNK))
    products = left.scaled[:, parts[0]] @ right.scaled[:, parts[0]].T
    for part in parts[1:]:
        products += left.scaled[:, part] @ right.scaled[:, part].T
    bounds = torch.add((right.norms - right.slack).to(precision), products, alpha=-2)
    return bounds.add_((left.norms - left.slack).to(precision)[:, None])


def pairs_below(
    frame: Frame, left: Panel, right: Panel, bounds: Float[Tensor, "n m"], limits: Float64[Tensor, "_ _"]
) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
    """Return the pairs of two panels whose squared distance is strictly below a limit.

    Args:
        frame: of both panels.
        left: n samples.
        right: m samples.
        bounds: by `lower_bounds`.
        limits: or squared distances, unscaled, float64.
    """
    scaled = frame.scaled(limits)
    above = torch.nextafter(scaled.to(bounds), torch.tensor(math.inf).to(bounds))
    above = above.masked_fill(scaled == 0, -math.inf)  # nothing is nearer than a copy
    rows, columns = (bounds < above).nonzero(as_tuple=True)
    upper = bounds[rows, columns] + 2 * (left.slack[rows] + right.slack[columns])
    below = upper < scaled.expand_as(bounds)[rows, columns]
    unsure = (~below).nonzero()[:, 0]
    if len(unsure) > bounds.numel() // DENSE and bounds.dtype == torch.float32:
        left, right = (frame.panel(one.features, torch.float64) for one in (left, right))
        return pairs_below(frame, left, right, lower_bounds(left, right), limits)
    some_rows, some_columns = rows[unsure], columns[unsure]
    found = squared_distances(left.features, some_rows, right.features, some_columns)
    below[unsure] = found < limits.expand_as(bounds)[some_rows, some_columns]
    return rows[below], columns[below]


def squared_distances(
    first: Float[Tensor, "n f"],
    rows: Int64[Tensor, " pairs"],
    second: Float[Tensor, "m f"],
    columns: Int64[Tensor, " pairs"],
) -> Float64[Tensor, " pairs"]:
    """Squared distances of the pairs `first[rows]`, `second[columns]`, in float64 and by differences.

    A pair has the same distance whatever it is asked with, and equal samples have none.
    """
    found = torch.empty(len(rows), dtype=torch.float64, device=first.device)
    for part in blocks(len(rows), _rows_at_once(first)):
        squares = first[rows[part]].double()
        squares -= second[columns[part]]
        squares.square_()
        while squares.shape[1] > 1:  # in halves: the order of a built-in sum depends on how many rows there are
            half = -(-squares.shape[1] // 2)
            squares[:, : squares.shape[1] - half] += squares[:, half:]
            squares = squares[:, :half]
        found[part] = squares[:, 0]
    return found


def _rows_at_once(features: Float[Tensor, "n f"]) -> int:
    return max(1, NUMBERS // features.shape[1])


def blocks(count: int, size: int, start: int = 0) -> Iterator[slice]:
    """Cut start … count into slices of at most `size`."""
    return (slice(first, min(first + size, count)) for first in range(start, count, size))
