"""Which samples are near: bounded in float32, which is twice as fast, and settled in float64 where bounds do not say.

`|x - y|^2 = |x|^2 + |y|^2 - 2 x.y` is one matrix product. In float32 it is off by at most a known share of
`|x|^2 + |y|^2`: n products, summed in any order, are off by at most n roundings of their absolute sum (Higham 2002,
section 3.1). With that share taken off it is a lower bound, and few pairs are left that two bounds do not decide.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ganpress.metrics.inputs import Float64, Floats

Indices = NDArray[np.intp]

CHUNK = 256
"""Features summed by one product: the error of a sum grows with its length, not with the number of features."""
NUMBERS = 2**20
"""Numbers in float64 that are held while pairs are settled."""


@dataclass(frozen=True)
class Panel:
    """Samples (n, F) of a set, prepared for `lower_bounds`."""

    features: Floats
    """(n, F), as given."""
    scaled: Floats
    """(n, F) about the frame's centre, in its scale and the precision of the bounds."""
    norms: Float64
    """(n,) squared norms of the scaled samples."""
    slack: Float64
    """(n,) what a pair's squared distance may be off by is at most the sum of its two."""


@dataclass(frozen=True)
class Frame:
    """A centre and a scale that bring all numbers of the sets within -1 … 1: in float32 none overflows there."""

    centre: Floats
    """(F,) about the mean: products lose the digits of an offset that all samples share."""
    scale: float
    """A power of two, by which multiplying rounds nothing."""

    @classmethod
    def around(cls, *sets: Floats) -> "Frame":
        """Return the frame of some sets (N, F), centred on the first."""
        centre = sets[0].mean(axis=0, dtype=np.float64).astype(sets[0].dtype)
        largest = max(float(np.abs(part[rows] - centre).max()) for part in sets for rows in blocks(len(part), CHUNK))
        return cls(centre, float(2.0 ** -np.ceil(np.log2(largest))) if largest > 0 else 1.0)

    def panel(self, features: Floats, precision: DTypeLike = np.float32) -> Panel:
        """Prepare samples (n, F)."""
        scaled = ((features - self.centre) * features.dtype.type(self.scale)).astype(precision, copy=False)
        norms = np.linalg.vecdot(scaled, scaled).astype(np.float64)
        count, numbers = scaled.shape[1], np.finfo(scaled.dtype)
        roundings = min(count, CHUNK) + count // CHUNK + 24  # of a chunk's sum, of chunks, of the rest
        slack = roundings * numbers.epsneg * norms + count * float(numbers.tiny)
        return Panel(features, scaled, norms, slack)

    def scaled(self, squared: Float64) -> Float64:
        """Bring squared distances into the frame's scale."""
        return squared * self.scale**2


def lower_bounds(left: Panel, right: Panel) -> Floats:
    """Bound the squared distances (n, m) of two panels from below, in their frame's scale.

    They are too low by at most twice the two samples' slack.
    """
    starts = range(0, left.scaled.shape[1], CHUNK)
    bounds: Floats = left.scaled[:, :CHUNK] @ right.scaled[:, :CHUNK].T
    for start in starts[1:]:
        bounds += left.scaled[:, start : start + CHUNK] @ right.scaled[:, start : start + CHUNK].T
    bounds *= -2
    bounds += (left.norms - left.slack).astype(bounds.dtype)[:, None]
    bounds += (right.norms - right.slack).astype(bounds.dtype)
    return bounds


def pairs_below(frame: Frame, left: Panel, right: Panel, bounds: Floats, limits: Float64) -> tuple[Indices, Indices]:
    """Return the pairs (rows, columns) of two panels whose squared distance is strictly below a limit.

    Args:
        frame: of both panels.
        left: n samples.
        right: m samples.
        bounds: (n, m) by `lower_bounds`.
        limits: (n, 1) or (1, m) squared distances, unscaled.
    """
    scaled = frame.scaled(limits)
    above = np.nextafter(scaled.astype(bounds.dtype), np.inf, dtype=bounds.dtype)
    near = np.flatnonzero(bounds < above)
    rows, columns = np.divmod(near, bounds.shape[1])
    upper = bounds.reshape(-1)[near] + 2 * (left.slack[rows] + right.slack[columns])
    below = upper < np.broadcast_to(scaled, bounds.shape)[rows, columns]
    unsure = np.flatnonzero(~below)
    found = squared_distances(left.features, rows[unsure], right.features, columns[unsure])
    below[unsure] = found < np.broadcast_to(limits, bounds.shape)[rows[unsure], columns[unsure]]
    return rows[below], columns[below]


def squared_distances(first: Floats, rows: Indices, second: Floats, columns: Indices) -> Float64:
    """Squared distances (n,) of the pairs `first[rows]`, `second[columns]`, in float64 and by differences.

    A pair has the same distance whatever it is asked with, and equal samples have none.
    """
    found = np.empty(len(rows))
    for part in blocks(len(rows), max(1, NUMBERS // first.shape[1])):
        difference = first[rows[part]].astype(np.float64)
        difference -= second[columns[part]]
        found[part] = np.square(difference, out=difference).sum(axis=1)
    return found


def blocks(count: int, size: int, start: int = 0) -> Iterator[slice]:
    """Cut start … count into slices of at most `size`."""
    return (slice(first, min(first + size, count)) for first in range(start, count, size))
