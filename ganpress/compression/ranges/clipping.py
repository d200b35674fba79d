"""Chooses the bounds for clipping before rounding, by five methods on a histogram (Mordido et al.).

- `none`: smallest and largest value.
- `mse`: least sum of squared clipping and rounding error.
- `aciq`: closed form for Gaussian and Laplace values, the better fit of the two (Banner, Nahshan & Soudry 2019,
  "Post training 4-bit quantization of convolutional networks for rapid-deployment", equations 5 to 7).
- `kl`: least divergence of the clipped and rounded histogram from the histogram (Migacz 2017, "8-bit inference with
  TensorRT").
- `percentile`: the allowed share of values is beyond the bounds.

With every method, the bounds are within the measured range, and include zero.
"""

import math
from typing import get_args

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from ganpress.compression.ranges.histograms import Histogram, Ranges, affine
from ganpress.config.edge_section import Clipping
from ganpress.errors import ConfigError

CLIPPINGS: tuple[Clipping, ...] = get_args(Clipping)
BITS = range(2, 9)
PERCENTILE = 99.99
"""Default percentile of activations; among a few hundred thousand calibration values it clips a handful."""

# Both solve "clipping error of the tails + rounding error = least", where the rounding error is that of m - 1 steps of
# 2 alpha / m with m = 2^(bits - 1): a sign and bits - 1 binary digits. Banner's own table counts 2^bits steps and is
# wider (Laplace, 4 bits: 5.03).
GAUSSIAN = (1.478, 1.805, 2.192, 2.577, 2.945, 3.291, 3.617)
"""Best bound of Gaussian values in standard deviations, for 2 … 8 bits."""
LAPLACE = (2.332, 3.045, 4.004, 5.083, 6.232, 7.427, 8.653)
"""Best bound of Laplace values in mean absolute deviations, for 2 … 8 bits."""

SHARES = 0.97 ** torch.arange(110, dtype=torch.float64)
"""Candidate bounds of `mse` and `kl` as shares of the range, 1 down to 0.036."""
AT_ONCE = 10
"""Candidates of `mse` after which it is asked whether a narrower one can still be the best."""
LEAST = 1e-6
"""Probability that stands for none, so that a divergence stays finite."""


def clip(
    histogram: Histogram, bits: int, method: Clipping, symmetric: bool = False, percentile: float = PERCENTILE
) -> Ranges:
    """Choose the bounds of each channel's codes.

    Args:
        histogram: histogram of the values.
        bits: bits of the codes, 2 to 8.
        method: see the module.
        symmetric: whether the bounds are symmetric around zero, as for weights; the histogram's bounds must then be
            symmetric.
        percentile: share of values inside the bounds, in percent, for `percentile`.

    Returns:
        Bounds (C,) float32.

    Raises:
        ConfigError: if bits, method or percentile are not allowed.
    """
    check_bits("bits", bits)
    if method not in CLIPPINGS:
        raise ConfigError(f"clipping must be one of {', '.join(CLIPPINGS)}, found '{method}'")
    check_percentile(percentile)
    if method == "none":
        return histogram.ranges
    if method == "aciq":
        return _around_mean(histogram, aciq_reach(histogram, bits), symmetric)
    if method == "percentile":
        return _quantiles(histogram, percentile / 100, symmetric)
    if method == "mse":
        best = SHARES[_least_errors(histogram, bits, symmetric)]
    else:
        best = SHARES[divergences(histogram, bits, symmetric).argmin(0)]
    return histogram.ranges.scaled(best.float())


def _least_errors(histogram: Histogram, bits: int, symmetric: bool) -> Int64[Tensor, " c"]:
    """The first of `SHARES` with the least squared error, for each channel.

    What values beyond the bounds lose grows as bounds get narrower; from the candidate on where that alone is more
    than the least error, none is looked at.
    """
    channels = torch.arange(len(histogram.counts))
    best = torch.zeros(len(channels), dtype=torch.long)
    least = torch.full((len(channels),), math.inf, dtype=torch.float64)
    for start in range(0, len(SHARES), AT_ONCE):
        open_ones = Histogram(
            Ranges(histogram.ranges.low[channels], histogram.ranges.high[channels]),
            histogram.counts[channels],
            histogram.zeros[channels],
        )
        shares = SHARES[start : start + AT_ONCE]
        found, place = squared_errors(open_ones, bits, symmetric, shares).min(0)
        better = found < least[channels]
        best[channels[better]], least[channels[better]] = start + place[better], found[better]
        left = _beyond(open_ones, bits, symmetric, float(shares[-1])) <= least[channels]
        channels = channels[left]
        if not len(channels):
            break
    return best


def _beyond(histogram: Histogram, bits: int, symmetric: bool, share: float) -> Float64[Tensor, " c"]:
    """The least that is lost by clipping at this share of the range or a narrower one: of the edge of each bin that is
    nearest to zero, and half a step further, as far as rounding the zero point may move the codes.
    """
    edges, ranges = histogram.edges, histogram.ranges.scaled(share)
    half = _steps(ranges, bits, symmetric)[0] / 2
    above = (edges[:, :-1] - (ranges.high.double() + half)[:, None]).clamp_(min=0)
    below = ((ranges.low.double() - half)[:, None] - edges[:, 1:]).clamp_(min=0)
    return (histogram.counts * (above + below).square_()).sum(1)


def check_bits(name: str, bits: int | None) -> None:
    """Check a number of bits.

    Raises:
        ConfigError: if it is not 2 to 8; None, for floats, is allowed.
    """
    if bits is not None and bits not in BITS:
        raise ConfigError(f"{name} must be {BITS[0]} to {BITS[-1]}, or null for floats, found {bits}")


def check_percentile(percentile: float) -> None:
    """Check a share in percent.

    Raises:
        ConfigError: if it is not above 50 and at most 100.
    """
    if not 50 < percentile <= 100:
        raise ConfigError(f"percentile must be above 50 and at most 100, found {percentile}")


def aciq_reach(histogram: Histogram, bits: int) -> Float[Tensor, " c"]:
    """Return the distance of both bounds from the mean, for the likelier of the Gaussian and the Laplace distribution.

    Under the best fit of each, the mean log-likelihood is -log(deviation) - (1 + log 2 pi) / 2 for the Gaussian and
    -log(mean absolute deviation) - (1 + log 2) for the Laplace distribution.
    """
    deviation, spread = histogram.moment(2).sqrt(), histogram.moment(1)
    gaussian_is_likelier = deviation.log() + (1 + math.log(2 * math.pi)) / 2 < spread.log() + 1 + math.log(2)
    return torch.where(gaussian_is_likelier, GAUSSIAN[bits - 2] * deviation, LAPLACE[bits - 2] * spread)


def squared_errors(
    histogram: Histogram, bits: int, symmetric: bool = False, shares: Float64[Tensor, " candidates"] = SHARES
) -> Float[Tensor, "candidates c"]:
    """Return the sum of squared clipping and rounding errors for each of `shares`.

    It is exact for values spread evenly within their bins: a bin's error is the difference of the integrated error at
    its edges.
    """
    edges, found = histogram.edges, []
    density = histogram.counts / (edges[:, 1:] - edges[:, :-1])
    for share in shares:
        scale, lowest, highest = _steps(histogram.ranges.scaled(float(share)), bits, symmetric)
        integral = _integrated_error(edges / scale[:, None], lowest[:, None], highest[:, None])
        found.append(scale**3 * (density * (integral[:, 1:] - integral[:, :-1])).sum(1))
    return torch.stack(found)


def divergences(histogram: Histogram, bits: int, symmetric: bool = False) -> Float[Tensor, "candidates c"]:
    """Return the Kullback-Leibler divergence of the clipped, rounded histogram from the clipped one, for each of
    `SHARES`.

    As published: values beyond the bounds count as the outermost bin in the reference and not at all in the rounded
    histogram, in which the bins of one code share their count equally, empty ones aside.
    """
    centres, found = histogram.centres, []
    for share in SHARES:
        scale, lowest, highest = _steps(histogram.ranges.scaled(float(share)), bits, symmetric)
        steps = centres / scale[:, None]
        inside = (steps >= lowest[:, None] - 0.5) & (steps <= highest[:, None] + 0.5)
        reference = _clipped_counts(histogram.counts, inside)
        code = (torch.round(steps).clamp(lowest[:, None], highest[:, None]) - lowest[:, None]).long()
        occupied = (reference > 0).double()
        counts = torch.zeros(len(code), 2**bits, dtype=torch.float64)
        of_code = counts.scatter_add(1, code, histogram.counts * inside)
        bins = counts.scatter_add(1, code, occupied)
        rounded = occupied * (of_code / bins.clamp(min=1)).gather(1, code)
        found.append(_divergence(reference, rounded))
    return torch.stack(found)


def _steps(
    ranges: Ranges, bits: int, symmetric: bool
) -> tuple[Float64[Tensor, " c"], Float64[Tensor, " c"], Float64[Tensor, " c"]]:
    """Return the scale, and the lowest and highest number of steps from zero."""
    if symmetric:
        highest = torch.full_like(ranges.high, 2 ** (bits - 1) - 1).double()
        scale = torch.where(ranges.high > 0, ranges.high.double() / highest, 1.0)
        return scale, -highest, highest
    scale, zero_point = affine(ranges, bits)
    return scale.double(), -zero_point.double(), 2**bits - 1 - zero_point.double()


def _integrated_error(
    steps: Float[Tensor, "c edges"], lowest: Float[Tensor, "c 1"], highest: Float[Tensor, "c 1"]
) -> Float[Tensor, "c edges"]:
    """Return the integral from 0 of the squared error of rounding to whole numbers from `lowest` to `highest`.

    From 0 to u it is r / 12 + (u - r)^3 / 3 with r = round(u); beyond the last number r stays.
    """
    nearest = torch.round(steps).clamp(lowest, highest)
    return nearest / 12 + (steps - nearest) ** 3 / 3


def _clipped_counts(counts: Float[Tensor, "c b"], inside: Bool[Tensor, "c b"]) -> Float[Tensor, "c b"]:
    """Add counts outside the bounds to the outermost bins inside."""
    bins = torch.arange(counts.shape[1])
    first = torch.where(inside, bins, len(bins)).amin(1, keepdim=True).clamp(max=len(bins) - 1)
    last = torch.where(inside, bins, -1).amax(1, keepdim=True).clamp(min=0)
    below, above = (counts * (bins < first)).sum(1, keepdim=True), (counts * (bins > last)).sum(1, keepdim=True)
    return (counts * inside).scatter_add(1, first, below).scatter_add(1, last, above)


def _divergence(reference: Float[Tensor, "c b"], other: Float[Tensor, "c b"]) -> Float[Tensor, " c"]:
    p = reference / reference.sum(1, keepdim=True).clamp(min=1)
    q = other / other.sum(1, keepdim=True).clamp(min=1)
    return torch.where(p > 0, p * (p / q.clamp(min=LEAST)).log(), 0.0).sum(1)


def _around_mean(histogram: Histogram, reach: Float[Tensor, " c"], symmetric: bool) -> Ranges:
    mean = torch.zeros_like(reach) if symmetric else histogram.mean
    return _inside(histogram, mean - reach, mean + reach)


def _quantiles(histogram: Histogram, share: float, symmetric: bool) -> Ranges:
    if not symmetric:
        return _inside(histogram, histogram.quantile((1 - share) / 2), histogram.quantile((1 + share) / 2))
    folded = histogram.counts.flip(1) + histogram.counts  # of |x|, on the upper half
    upper = Histogram(histogram.ranges, folded * (histogram.centres > 0), histogram.zeros)
    reach = upper.quantile(share)
    return _inside(histogram, -reach, reach)


def _inside(histogram: Histogram, low: Float[Tensor, " c"], high: Float[Tensor, " c"]) -> Ranges:
    seen, zero = histogram.ranges, torch.zeros(())
    return Ranges(
        torch.minimum(torch.maximum(low.float(), seen.low), zero),
        torch.maximum(torch.minimum(high.float(), seen.high), zero),
    )
