"""Bounds in float32 and the neighbours found by them, on features that float32 alone gets wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ganpress.metrics.distances import Frame, lower_bounds, pairs_below, squared_distances
from ganpress.metrics.nearest import squared_radii


def spread(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size))


def tight_clusters(count: int, size: int) -> np.ndarray:
    """Ten clusters a millionth as wide as they are far apart."""
    random = np.random.default_rng(5)
    return random.normal(size=(10, size))[random.integers(10, size=count)] + 1e-6 * random.normal(size=(count, size))


def two_sizes(count: int, size: int) -> np.ndarray:
    """Half of the samples a hundred million times as large as the others."""
    return spread(count, size) * np.where(np.arange(count) % 2, 1e8, 1)[:, None]


SETS = {
    "spread": spread(300, 48),
    "one feature": spread(300, 1),
    "more features than a product sums": spread(200, 700),
    "far from zero": (spread(300, 48) + 1e4).astype(np.float32),
    "too small for float32": spread(300, 48) * 1e-30,
    "too large for float32": spread(300, 48) * 1e30,
    "tight clusters": tight_clusters(300, 48),
    "two sizes": two_sizes(300, 48),
    "all the same": np.ones((300, 48), np.float32),
    "each twice": np.repeat(spread(150, 48), 2, axis=0),
    "an outlier": np.concatenate([spread(299, 48), np.full((1, 48), 1e9)]),
}


def tensor(features: np.ndarray) -> Tensor:
    return torch.from_numpy(features)


def by_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = first.astype(np.longdouble), second.astype(np.longdouble)
    return np.stack([np.square(row - second).sum(axis=1) for row in first])


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SETS)
def test_bounds_hold(name, precision):
    features = SETS[name]
    frame = Frame.around(tensor(features))
    left, right = (frame.panel(tensor(half), precision) for half in (features[:150], features[150:]))
    exact = by_differences(features[:150], features[150:]) * np.longdouble(frame.scale) ** 2
    bounds = lower_bounds(left, right)
    assert bounds.dtype == precision
    assert (bounds.numpy() <= exact).all()
    assert (exact <= (bounds + 2 * (left.slack[:, None] + right.slack)).numpy()).all()


def test_bounds_say_something():
    # what is taken off is a ten-thousandth of the distances, so that almost all pairs are decided without float64
    features = tensor(SETS["spread"])
    frame = Frame.around(features)
    left, right = frame.panel(features[:150]), frame.panel(features[150:])
    assert (2 * (left.slack[:, None] + right.slack) < 1e-4 * lower_bounds(left, right)).double().mean() > 0.99


@pytest.mark.parametrize("name", SETS)
def test_pairs_below_a_limit_are_those_by_differences(name):
    first, second = tensor(SETS[name][:150]), tensor(SETS[name][150:])
    frame = Frame.around(first, second)
    left, right = frame.panel(first), frame.panel(second)
    rows, columns = torch.ones(len(first), len(second)).nonzero(as_tuple=True)
    exact = squared_distances(first, rows, second, columns).reshape(len(first), -1)
    limits = exact.median(dim=1, keepdim=True).values  # of one of the pairs, which must then not be below it
    found = torch.zeros(exact.shape, dtype=torch.bool)
    found[pairs_below(frame, left, right, lower_bounds(left, right), limits)] = True
    assert torch.equal(found, exact < limits)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("name", SETS)
def test_radii_are_those_by_differences(name, k):
    distances = by_differences(SETS[name], SETS[name])
    np.fill_diagonal(distances, np.inf)
    expected = np.sort(distances, axis=1)[:, k - 1].astype(float)
    np.testing.assert_allclose(squared_radii(tensor(SETS[name]), k, block=64), expected, rtol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_radii_of_hardly_more_samples_than_neighbours(count):
    features = spread(count, 4)
    expected = np.sort(by_differences(features, features), axis=1)[:, -1].astype(float)
    np.testing.assert_allclose(squared_radii(tensor(features), count - 1), expected, rtol=1e-12)


def test_products_that_a_user_allows_to_be_rough_are_not():
    features = tensor(SETS["tight clusters"])
    plain, before = squared_radii(features, 3), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(squared_radii(features, 3), plain)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
