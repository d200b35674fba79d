import contextlib
import io

import numpy as np
import prdc
import pytest
import torch

from ganpress.errors import DataError
from ganpress.metrics.neighbours.precision_recall import NeighbourScores, neighbour_scores, neighbourhood


def manifold(count: int, seed: int, modes: int = 10, size: int = 48) -> np.ndarray:
    """Modes on a curved surface: a mixture in 6 dimensions through a fixed random ReLU layer."""
    fixed = np.random.default_rng(99)
    centres, layer = 4 * fixed.normal(size=(10, 6)), fixed.normal(size=(6, size))
    random = np.random.default_rng(seed)
    latent = centres[random.integers(modes, size=count)] + random.normal(size=(count, 6))
    return np.maximum(latent @ layer, 0)


def score(real, fake, k=5, block=64) -> NeighbourScores:
    return neighbour_scores(neighbourhood(real, k, block), fake, block)


def reference_scores(real, fake, k) -> dict[str, float]:
    with contextlib.redirect_stdout(io.StringIO()):
        return prdc.compute_prdc(real, fake, k)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("modes", [10, 4])
def test_it_equals_prdc(k, modes):
    real, fake = manifold(500, 0), manifold(430, 1, modes)
    expected = reference_scores(real, fake, k)
    ours = score(real, fake, k)
    for name, value in expected.items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("block", [pytest.param(1, marks=pytest.mark.slow), 7, 100, 10_000])
def test_the_block_size_does_not_matter(block):
    real, fake = manifold(130, 0), manifold(111, 1, 5)
    assert score(real, fake, block=block) == score(real, fake, block=64)


def test_a_common_offset_of_float32_features_does_not_matter():
    # 1e4 is exact on features that are rounded to a grid of 2^-6 first
    real, fake = (np.round(manifold(300, seed) * 64) / 64 for seed in (0, 1))
    plain = score(real.astype(np.float32), fake.astype(np.float32))
    assert score((real + 1e4).astype(np.float32), (fake + 1e4).astype(np.float32)) == plain


@pytest.mark.parametrize("k", [1, 3, 5])
def test_equal_distributions_have_the_expected_coverage_and_density(k):
    # Naeem et al. 2020, lemma 2: E[coverage] = 1 - (n-1)…(n-k) / ((2n-1)…(2n-k)) -> 1 - 2^-k, E[density] = 1
    ours = score(manifold(2000, 0), manifold(2000, 1), k, block=512)
    assert ours.coverage == pytest.approx(1 - 2.0**-k, abs=0.04)
    assert ours.density == pytest.approx(1, abs=0.08)


def test_a_set_covers_itself():
    real = manifold(200, 0)
    ours = score(real, real)
    assert (ours.precision, ours.recall, ours.coverage) == (1, 1, 1)


def test_dropped_modes_lower_recall_and_coverage_but_not_precision():
    real = manifold(600, 0)
    whole, half = score(real, manifold(600, 1)), score(real, manifold(600, 1, modes=5))
    assert half.recall < 0.7 * whole.recall
    assert half.coverage < 0.7 * whole.coverage
    assert half.precision > whole.precision - 0.05


def test_samples_off_the_manifold_lower_precision_and_density():
    real, fake = manifold(600, 0), manifold(600, 1)
    fake[:300] += 30
    ours = score(real, fake)
    assert ours.precision < 0.55
    assert ours.density < 0.65


def test_precision_and_recall_change_places_with_the_sets():
    real, fake = manifold(300, 0), manifold(250, 1, modes=5)
    one, other = score(real, fake), score(fake, real)
    assert (one.precision, one.recall) == (other.recall, other.precision)


def test_a_collapsed_generator_has_no_recall():
    real = manifold(300, 0)
    ours = score(real, np.tile(real[:1], (200, 1)))
    assert ours.recall == 0
    assert ours.precision == 1


def test_duplicates_are_at_distance_zero_whatever_their_size():
    twins = np.repeat(np.random.default_rng(0).normal(size=(50, 16)) * 1e6 + 1e3, 2, axis=0)
    assert (neighbourhood(twins, 1).squared_radii == 0).all()


def test_tensors_and_arrays_agree():
    real, fake = manifold(100, 0), manifold(100, 1)
    assert score(torch.from_numpy(real), torch.from_numpy(fake)) == score(real, fake)


def test_no_more_neighbours_than_other_samples():
    with pytest.raises(DataError, match="5 samples have at most 4 neighbours each, 5 are asked for"):
        neighbourhood(manifold(5, 0), 5)
    with pytest.raises(DataError, match="3 samples have at most 2 neighbours"):
        score(manifold(50, 0), manifold(3, 1))


def test_features_of_two_judges_are_refused():
    with pytest.raises(DataError, match="48 and 8 features"):
        score(manifold(50, 0), np.zeros((50, 8)))


def test_nan_is_refused():
    fake = manifold(50, 1)
    fake[7, 0] = np.inf
    with pytest.raises(DataError, match="the generated features hold NaN or infinity in 1 of 50"):
        score(manifold(50, 0), fake)
