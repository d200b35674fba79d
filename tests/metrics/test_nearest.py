"""Bounds in float32 and the neighbours found by them, on features that float32 alone gets wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ganpress.metrics.neighbours import exact as nearest
from ganpress.metrics.neighbours import precision_recall as neighbours
from ganpress.metrics.neighbours.distance_bounds import Frame, Panel, lower_bounds, pairs_below, squared_distances
from ganpress.metrics.neighbours.exact import squared_radii
from ganpress.metrics.neighbours.precision_recall import NeighbourScores, neighbour_scores, neighbourhood


def spread(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size))


def tight_clusters(count: int, size: int) -> np.ndarray:
    """Ten clusters a millionth as wide as they are far apart."""
    random = np.random.default_rng(5)
    return random.normal(size=(10, size))[random.integers(10, size=count)] + 1e-6 * random.normal(size=(count, size))


def last_digits(count: int, size: int) -> np.ndarray:
    """Float32 clusters that differ in the last digits of each number."""
    random = np.random.default_rng(6)
    centres = random.normal(size=(4, size)).astype(np.float32)[random.integers(4, size=count)]
    return centres * (1 + np.float32(2**-23) * random.integers(-12, 13, size=(count, size)).astype(np.float32))


def two_sizes(count: int, size: int) -> np.ndarray:
    """Half of the samples a hundred million times as large as the others."""
    return spread(count, size) * np.where(np.arange(count) % 2, 1e8, 1)[:, None]


def one_sided(count: int, size: int) -> np.ndarray:
    """All features of a sample alike, so that all roundings of its sums go one way."""
    return np.repeat(np.random.default_rng(7).uniform(0.5, 1, size=(count, 1)), size, axis=1).astype(np.float32)


SETS = {
    "spread": spread(300, 48),
    "one feature": spread(300, 1),
    "more features than a product sums": spread(200, 700),
    "far from zero": (spread(300, 48) + 1e4).astype(np.float32),
    "too small for float32": spread(300, 48) * 1e-30,
    "far too small for float32": spread(300, 48) * 1e-100,
    "too large for float32": spread(300, 48) * 1e30,
    "tight clusters": tight_clusters(300, 48),
    "last digits": last_digits(300, 3),
    "one-sided": one_sided(300, 700),
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


@pytest.mark.parametrize("name", ["spread", "an outlier"])
def test_bounds_say_something(name):
    # what is taken off is a ten-thousandth of most distances, so that few pairs need float64; outliers change nothing
    features = tensor(SETS[name])
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


@pytest.mark.parametrize("draw", [spread, tight_clusters])
@pytest.mark.parametrize("more", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_radii_of_hardly_more_samples_than_neighbours(k, more, draw):
    features = draw(k + more, 4)
    expected = np.sort(by_differences(features, features), axis=1)[:, k].astype(float)  # the sample itself comes first
    np.testing.assert_allclose(squared_radii(tensor(features), k), expected, rtol=1e-12)


@pytest.mark.parametrize("name", SETS)
def test_scores_of_awkward_sets_are_those_by_differences(name):
    real, fake, k = SETS[name][:150], SETS[name][150:].astype(np.float64), 3
    between, balls = by_differences(real, fake), []
    for features in (real, fake):
        own = by_differences(features, features)
        balls.append(np.sort(own, axis=1)[:, k])  # itself comes first
    inside = between < balls[0][:, None]
    assert neighbour_scores(neighbourhood(real, k, block=64), fake, block=64) == NeighbourScores(
        precision=pytest.approx(inside.any(axis=0).mean()),
        recall=pytest.approx((between < balls[1]).any(axis=1).mean()),
        density=pytest.approx(inside.sum() / (k * len(fake))),
        coverage=pytest.approx(inside.any(axis=1).mean()),
    )


@pytest.mark.parametrize("types", [(np.float32, np.float64), (np.float64, np.float32)])
def test_sets_of_two_precisions_have_one_centre(types):
    first, second = (tensor((spread(100, 48, seed) + 1e4).astype(one)) for seed, one in enumerate(types))
    frame = Frame.around(first, second)
    left, right = frame.panel(first), frame.panel(second)
    exact = by_differences(first.numpy(), second.numpy()) * np.longdouble(frame.scale) ** 2
    bounds = lower_bounds(left, right)
    assert (bounds.numpy() <= exact).all()
    assert (exact <= (bounds + 2 * (left.slack[:, None] + right.slack)).numpy()).all()


def test_a_pair_has_one_distance_whatever_it_is_asked_with():
    features = tensor(spread(200, 700).astype(np.float32))
    rows, columns = torch.arange(100), torch.arange(100, 200)
    together = squared_distances(features, rows, features, columns)
    apart = torch.cat([squared_distances(features, rows[i, None], features, columns[i, None]) for i in range(100)])
    assert torch.equal(together, apart)


@pytest.mark.parametrize(
    "score", [squared_radii, lambda features, k: neighbour_scores(neighbourhood(features, k), features)]
)
def test_products_that_a_user_allows_to_be_rough_are_not(score, monkeypatch):
    seen = []

    def watched(left: Panel, right: Panel) -> Tensor:
        seen.append((torch.backends.mkldnn.matmul.fp32_precision, torch.is_autocast_enabled("cpu")))
        return lower_bounds(left, right)

    for module in (nearest, neighbours):
        monkeypatch.setattr(module, "lower_bounds", watched)
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu"):
            score(tensor(SETS["tight clusters"]), 3)
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert set(seen) == {("ieee", False)}
