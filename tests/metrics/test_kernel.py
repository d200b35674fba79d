import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from ganpress.errors import DataError
from ganpress.metrics.distributions import kernel_error
from ganpress.metrics.distributions.kernel import kernel_distance
from ganpress.metrics.distributions.kernel_error import kernel_terms


def unit_features(count: int, size: int = 32, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    """Features whose mean squared norm is exactly F, so that the rescaling is the identity."""
    raw = np.random.default_rng(seed).normal(size=(count, size)) + shift
    return raw / np.sqrt((raw**2).sum(1).mean() / size)


def test_one_full_subset_equals_torch_fidelity():
    real, fake = unit_features(120), unit_features(120, seed=1, shift=0.3)
    theirs = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), kid_subsets=1, kid_subset_size=120, verbose=False
    )
    ours = kernel_distance(real, fake, subsets=1, subset_size=120, seed=0)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)


def test_it_is_the_definition():
    real, fake = unit_features(6, 3), unit_features(6, 3, seed=1)
    kernel = lambda x, y: (x @ y / 3 + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(6) for j in range(6)]
    within = sum(kernel(real[i], real[j]) + kernel(fake[i], fake[j]) for i, j in pairs if i != j) / 30
    between = sum(kernel(real[i], fake[j]) for i, j in pairs) / 36
    assert kernel_distance(real, fake, 1, 6, 0) == pytest.approx(within - 2 * between, rel=1e-10)


def test_the_scale_of_the_features_does_not_matter():
    real, fake = unit_features(200), unit_features(200, seed=1, shift=0.2)
    plain, scaled = (kernel_distance(f * real, f * fake, 5, 50, 3) for f in (1.0, 37.0))
    assert scaled == pytest.approx(plain, rel=1e-9)


def test_it_is_unbiased_on_one_distribution():
    values = [
        kernel_distance(unit_features(100, 8, seed), unit_features(100, 8, 1000 + seed), 4, 25, seed)
        for seed in range(60)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_it_tells_a_shifted_set_from_an_equal_one():
    real = unit_features(400)
    equal = kernel_distance(real, unit_features(400, seed=1), 10, 100, 0)
    shifted = kernel_distance(real, unit_features(400, seed=1, shift=0.5), 10, 100, 0)
    assert shifted > 10 * abs(equal)


@pytest.mark.parametrize("shift", [0.0, 0.3])  # of one distribution, what is left is the variance of pairs
@pytest.mark.parametrize(("subsets", "size"), [(1, 300), (3, 50), (30, 50)])
def test_the_error_is_the_spread_over_independent_data(shift, subsets, size):
    sets = [(unit_features(300, 8, seed), unit_features(300, 8, 1000 + seed, shift)) for seed in range(80)]
    spread = np.std([kernel_distance(*pair, subsets, size, 0) for pair in sets], ddof=1)
    found = np.mean([kernel_terms(*pair, subsets, size, 0).standard_error for pair in sets])
    assert found == pytest.approx(spread, rel=0.25)


def test_some_samples_tell_the_error_of_all(monkeypatch):
    sets = unit_features(600, 8), unit_features(600, 8, 1, 0.3)
    whole = kernel_terms(*sets, 1, 600, 0).standard_error
    monkeypatch.setattr(kernel_error, "MOST_ROWS", 200)
    assert kernel_terms(*sets, 1, 600, 0).standard_error == pytest.approx(whole, rel=0.25)


def test_every_disjoint_subset_is_averaged():
    sets = unit_features(800), unit_features(800, seed=1)
    assert kernel_distance(*sets, 3, 100, 0) == kernel_distance(*sets, 8, 100, 0)


def test_the_same_seed_gives_the_same_value_and_another_seed_another():
    sets = unit_features(100), unit_features(100, seed=1)
    assert kernel_distance(*sets, 5, 20, 1) == kernel_distance(*sets, 5, 20, 1)
    assert kernel_distance(*sets, 5, 20, 1) != kernel_distance(*sets, 5, 20, 2)


@pytest.mark.parametrize("size", [1, 51])
def test_a_subset_larger_than_a_set_or_of_one_is_refused(size):
    with pytest.raises(DataError, match=rf"between 2 and .* 50 images \(80 real, 50 generated\), found {size}"):
        kernel_distance(unit_features(80), unit_features(50), 5, size, 0)


def test_dead_reference_features_are_refused():
    with pytest.raises(DataError, match="all zero"):
        kernel_distance(np.zeros((10, 4)), np.ones((10, 4)), 1, 5, 0)
