"""Clipping bounds against closed forms, brute force and an independent implementation."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import entropy, laplace, norm

from ganpress.compression.ranges import clipping
from ganpress.compression.ranges.clipping import CLIPPINGS, GAUSSIAN, LAPLACE, SHARES, clip, divergences, squared_errors
from ganpress.compression.ranges.histograms import BINS, Histogram, Ranges, affine, ranges_of
from ganpress.errors import ConfigError

SAMPLES = 200_000


def drawn(distribution, count=SAMPLES, seed=0):
    """Values at the quantiles (k + 1/2) / count: a sample without chance."""
    values = distribution.ppf((np.arange(count) + 0.5) / count)
    return torch.tensor(values, dtype=torch.float32)[None]


def balanced(values):
    return Histogram.of(values, ranges_of(values).balanced())


def rounding_error(values, alpha, bits):
    """Sum of squared errors of symmetric codes with the bound alpha."""
    highest = 2 ** (bits - 1) - 1
    step = alpha / highest
    return float((torch.round(values / step).clamp(-highest, highest) * step - values).double().square().sum())


@pytest.mark.parametrize(("distribution", "table"), [(norm, GAUSSIAN), (laplace, LAPLACE)], ids=["gauss", "laplace"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_constants_solve_their_equation(distribution, table, bits):
    """Clipping error of both tails, and the rounding error of m - 1 steps of 2 alpha / m, m = 2^(bits - 1)."""
    steps = 2 ** (bits - 1)

    def error(alpha):
        tails, _ = quad(lambda x: (x - alpha) ** 2 * distribution.pdf(x), alpha, 60, limit=200)
        return 2 * tails + alpha**2 * (steps - 1) / (3 * steps**3)

    best = minimize_scalar(error, bounds=(1, 9), method="bounded", options={"xatol": 1e-6}).x
    assert table[bits - 2] == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("distribution", "reach"), [(norm, GAUSSIAN), (laplace, LAPLACE)], ids=["gauss", "laplace"])
def test_aciq_takes_the_likelier_distribution(bits, distribution, reach):
    found = clip(balanced(drawn(distribution)), bits, "aciq", symmetric=True)
    assert float(found.high) == pytest.approx(reach[bits - 2], rel=0.01)
    assert float(found.low) == -float(found.high)


def test_aciq_never_reaches_beyond_the_values():
    values = drawn(norm, 20)
    found = clip(Histogram.of(values), 8, "aciq")
    assert (found.low, found.high) == (values.min(), values.max())
    shifted = clip(Histogram.of(drawn(norm) + 2), 4, "aciq")
    assert float(shifted.high) == pytest.approx(2 + GAUSSIAN[2], rel=0.01)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("distribution", [norm, laplace])
def test_mse_bound_is_as_good_as_that_of_an_exhaustive_search(bits, distribution):
    values = drawn(distribution)
    found = float(clip(balanced(values), bits, "mse", symmetric=True).high)
    largest = float(values.max())
    best = min(rounding_error(values, alpha, bits) for alpha in np.linspace(largest / 40, largest, 400))
    assert rounding_error(values, found, bits) < 1.02 * best


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_squared_error_of_the_histogram_is_that_of_the_values(bits):
    values = torch.cat([drawn(norm) * 0.3, drawn(norm) + 1], 1)
    histogram = Histogram.of(values)
    estimates = squared_errors(histogram, bits)
    for place in (0, 30, 60):
        scale, zero = affine(histogram.ranges.scaled(float(SHARES[place])), bits)
        codes = (torch.round(values / scale) + zero).clamp(0, 2**bits - 1)
        exact = float(((codes - zero) * scale - values).double().square().sum())
        assert float(estimates[place]) == pytest.approx(exact, rel=0.02)


def reference_divergence(values, alpha, bits):
    """Migacz's loop over the histogram's bins, in numpy, for symmetric codes."""
    largest = float(values.abs().max())
    counts, edges = np.histogram(values.numpy(), BINS, (-largest, largest))
    highest = 2 ** (bits - 1) - 1
    step = alpha / highest
    middles = (edges[1:] + edges[:-1]) / 2
    kept = [place for place in range(BINS) if abs(middles[place]) <= (highest + 0.5) * step]
    first, last = kept[0], kept[-1]
    reference = counts[first : last + 1].astype(float)
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last + 1 :].sum()
    rounded = np.zeros_like(reference)
    groups = {}
    for place in kept:
        groups.setdefault(round(middles[place] / step), []).append(place)
    for places in groups.values():
        filled = [place for place in places if reference[place - first] > 0]
        for place in filled:
            rounded[place - first] = sum(counts[other] for other in places) / len(filled)
    rounded = rounded / rounded.sum()
    mask = reference > 0
    return entropy(reference[mask] / reference.sum(), np.maximum(rounded[mask], 1e-6)) - math.log(
        np.maximum(rounded[mask], 1e-6).sum()
    )


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_divergence_is_that_of_an_independent_implementation(bits):
    values = drawn(laplace, 20_001)
    values = values[values != 0][None]
    found = divergences(balanced(values), bits, symmetric=True)[:, 0]
    largest = float(values.max())
    for place in range(0, 100, 12):
        wanted = reference_divergence(values[0], largest * float(SHARES[place]), bits)
        assert float(found[place]) == pytest.approx(wanted, rel=0.05, abs=2e-4)


def test_kl_cuts_an_outlier_off():
    values = torch.cat([drawn(norm, 20_000), torch.tensor([[80.0]])], 1)
    assert 2.5 < float(clip(balanced(values), 8, "kl", symmetric=True).high) < 12


@pytest.mark.parametrize("percentile", [99.0, 99.9, 100])
def test_percentile_leaves_its_share_outside(percentile):
    values = drawn(norm)
    for symmetric, histogram in ((True, balanced(values)), (False, Histogram.of(values))):
        found = clip(histogram, 8, "percentile", symmetric, percentile)
        outside = float(((values < found.low) | (values > found.high)).double().mean())
        assert 100 * outside == pytest.approx(100 - percentile, rel=0.1, abs=1e-9)


@pytest.mark.parametrize("method", CLIPPINGS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_bounds_hold_zero_and_lie_within_the_values(method, symmetric):
    values = torch.stack(
        [drawn(norm, 999)[0] + 5, drawn(laplace, 999)[0], torch.zeros(999), -drawn(norm, 999)[0].abs()]
    )
    histogram = balanced(values) if symmetric else Histogram.of(values)
    found = clip(histogram, 4, method, symmetric)
    assert (found.low <= 0).all()
    assert (found.high >= 0).all()
    assert (found.low >= histogram.ranges.low).all()
    assert (found.high <= histogram.ranges.high).all()
    if symmetric:
        assert torch.equal(found.low, -found.high)
    assert found.high[2] == 0


def test_channels_do_not_know_of_each_other():
    values = torch.cat([drawn(norm, 4000), 9 * drawn(laplace, 4000)])
    for method in CLIPPINGS:
        together = clip(Histogram.of(values), 3, method)
        alone = [clip(Histogram.of(row[None]), 3, method) for row in values]
        assert torch.equal(together.high, torch.cat([one.high for one in alone]))


def test_histograms_of_parts_add_up():
    values = drawn(laplace, 4000)
    ranges = ranges_of(values)
    parts = Histogram.of(values[:, :1500], ranges).merged(Histogram.of(values[:, 1500:], ranges))
    whole = Histogram.of(values)
    assert torch.equal(parts.counts, whole.counts)
    assert float(whole.total) == 4000
    assert float(whole.moment(1)) == pytest.approx(float(values.abs().mean()), rel=1e-3)


def test_ranges_are_balanced_around_zero():
    found = Ranges(torch.tensor([-1.0, -3.0]), torch.tensor([2.0, 0.0])).balanced()
    assert found.high.tolist() == [2, 3]
    assert found.low.tolist() == [-2, -3]


def test_what_is_not_allowed_is_refused():
    histogram = Histogram.of(drawn(norm, 99))
    with pytest.raises(ConfigError, match="bits must be 2 to 8, or null for floats, found 9"):
        clip(histogram, 9, "mse")
    with pytest.raises(ConfigError, match="clipping must be one of none, mse, aciq, kl, percentile, found 'max'"):
        clip(histogram, 8, "max")
    with pytest.raises(ConfigError, match="percentile must be above 50 and at most 100"):
        clip(histogram, 8, "percentile", percentile=0.99)


@pytest.mark.parametrize("symmetric", [False, True], ids=["affine", "symmetric"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_mse_takes_the_first_least_of_all_candidates_though_it_stops_early(bits, symmetric):
    values = torch.cat([drawn(norm), drawn(laplace) - 0.5, drawn(norm) ** 3, drawn(norm).clamp(min=0)])
    histogram = balanced(values) if symmetric else Histogram.of(values)
    all_errors = squared_errors(histogram, bits, symmetric)
    found = clip(histogram, bits, "mse", symmetric)
    assert torch.equal(found.high, histogram.ranges.scaled(SHARES[all_errors.argmin(0)].float()).high)


def test_mse_of_8_bits_looks_at_a_part_of_the_candidates(monkeypatch):
    looked_at = []
    whole = clipping.squared_errors
    monkeypatch.setattr(clipping, "squared_errors", lambda *given: looked_at.append(len(given[3])) or whole(*given))
    clip(Histogram.of(drawn(laplace)), 8, "mse")
    assert 0 < sum(looked_at) < len(SHARES)
