"""Histograms of tensors by channel, from which clipping thresholds are chosen.

A calibration set does not fit into memory, but its histogram does. Values are treated as spread evenly within a bin.
Exact zeros are counted separately: zero is always representable, so they have no error with any bounds.

Shapes: C channels, n values of each, B bins.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float32, Float64, Real
from torch import Tensor

BINS = 2048
"""Number of bins, eight for each step of 8 bits."""


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest values of tensors or channels, float32 (C,); each range includes zero."""

    low: Tensor
    high: Tensor

    def merged(self, other: "Ranges") -> "Ranges":
        """Return the ranges that cover both."""
        return Ranges(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))

    def scaled(self, share: Float[Tensor, " c"] | float) -> "Ranges":
        """Return ranges of this share of the width, which still include zero."""
        return Ranges(self.low * share, self.high * share)

    def balanced(self) -> "Ranges":
        """Return the smallest symmetric ranges that include these."""
        reach = torch.maximum(-self.low, self.high)
        return Ranges(-reach, reach)


def ranges_of(values: Float[Tensor, "c n"]) -> Ranges:
    """Return the smallest and largest value of each channel, including zero."""
    low, high = values.aminmax(dim=1)
    return Ranges(low.clamp(max=0), high.clamp(min=0))


def affine(ranges: Ranges, bits: int) -> tuple[Float32[Tensor, " c"], Float32[Tensor, " c"]]:
    """Return scales and zero points of the codes 0 … 2^bits - 1 that cover the ranges; zero is exact."""
    highest_code = 2**bits - 1
    width = ranges.high - ranges.low
    scale = torch.where(width > 0, width / highest_code, 1.0)
    return scale, torch.round(-ranges.low / scale).clamp(0, highest_code)


@dataclass(frozen=True)
class Histogram:
    """Counts of values in each of B equal bins between a channel's bounds."""

    ranges: Ranges
    counts: Tensor
    """Counts without exact zeros, float64 (C, B)."""
    zeros: Tensor
    """Number of exact zeros, float64 (C,)."""

    @classmethod
    def of(cls, values: Real[Tensor, "c n"], ranges: Ranges | None = None) -> "Histogram":
        """Count values; values beyond `ranges` (default: all values are inside) fall into the outermost bins."""
        values = values.detach().float()
        ranges = ranges or ranges_of(values)
        channels, width = values.shape[0], ranges.high - ranges.low
        width = torch.where(width > 0, width, 1.0)
        place = ((values - ranges.low[:, None]) * (BINS / width)[:, None]).long().clamp_(0, BINS - 1)
        place += BINS * torch.arange(channels)[:, None]
        is_zero = values == 0
        counts = torch.bincount(place[~is_zero], minlength=channels * BINS).reshape(channels, BINS)
        return cls(ranges, counts.double(), is_zero.sum(1).double())

    def merged(self, other: "Histogram") -> "Histogram":
        """Return the counts of both, which must have the same bounds."""
        return replace(self, counts=self.counts + other.counts, zeros=self.zeros + other.zeros)

    @property
    def edges(self) -> Float64[Tensor, "c edges"]:
        """Return the bounds of the bins, float64 (C, B + 1)."""
        low, high = self.ranges.low.double(), self.ranges.high.double()
        width = torch.where(high > low, high - low, 1.0)
        return low[:, None] + width[:, None] * torch.linspace(0, 1, BINS + 1, dtype=torch.float64)

    @property
    def centres(self) -> Float64[Tensor, "c b"]:
        """Return the centres of the bins."""
        edges = self.edges
        return (edges[:, 1:] + edges[:, :-1]) / 2

    @property
    def total(self) -> Float64[Tensor, " c"]:
        """Number of counted values."""
        return self.counts.sum(1) + self.zeros

    @property
    def mean(self) -> Float64[Tensor, " c"]:
        """Mean of the values of each channel."""
        return (self.counts * self.centres).sum(1) / self.total

    def moment(self, order: int) -> Float64[Tensor, " c"]:
        """Mean of |x - mean|^order."""
        mean = self.mean
        away = (self.counts * (self.centres - mean[:, None]).abs() ** order).sum(1)
        return (away + self.zeros * mean.abs() ** order) / self.total

    def quantile(self, share: float) -> Float64[Tensor, " c"]:
        """Return the value that this share of a channel's values, without zeros, does not exceed."""
        reached = self.counts.cumsum(1)
        wanted = share * reached[:, -1:]
        place = torch.searchsorted(reached, wanted).clamp(max=BINS - 1)
        before = torch.where(place > 0, reached.gather(1, (place - 1).clamp(min=0)), 0.0)
        inside = ((wanted - before) / self.counts.gather(1, place).clamp(min=1)).clamp(0, 1)
        edges = self.edges
        return (edges.gather(1, place) * (1 - inside) + edges.gather(1, place + 1) * inside)[:, 0]
