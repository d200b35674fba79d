import numpy as np
import pytest

from ganpress.errors import DataError
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.frechet_error import frechet_terms
from ganpress.metrics.distributions.kernel import kernel_distance
from ganpress.metrics.distributions.kernel_error import kernel_terms
from ganpress.metrics.intervals.distance_intervals import compare_distances, distance_interval


def normal(count: int, seed: int, shift: float = 0.0, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)) + shift


def difference(real, one, other):
    sides = [(frechet_distance_of_features(real, fake), frechet_terms(real, fake)) for fake in (one, other)]
    return compare_distances(*sides[0], *sides[1])


def test_the_interval_stands_about_the_distance_itself():
    terms = frechet_terms(normal(400, 0), normal(300, 1, 0.2))
    interval = distance_interval(0.5, terms)
    assert interval.estimate == 0.5
    assert interval.high - 0.5 == pytest.approx(1.96 * terms.standard_error, rel=1e-3)
    assert 0.5 - interval.low == pytest.approx(interval.high - 0.5)


def test_a_real_difference_of_distances_is_told_from_none():
    real, one, same, worse = normal(500, 0), normal(500, 1), normal(500, 2), normal(500, 3, 0.3)
    assert not difference(real, one, same).excludes_zero
    found = difference(real, worse, one)
    assert found.low > 0
    expected = frechet_distance_of_features(real, worse) - frechet_distance_of_features(real, one)
    assert found.estimate == pytest.approx(expected, rel=1e-9)


def test_equal_generators_seldom_differ():
    real = normal(400, 0)
    found = [difference(real, normal(400, 2 * s + 1, 0.2), normal(400, 2 * s + 2, 0.2)) for s in range(60)]
    assert sum(one.excludes_zero for one in found) <= 8  # 5 % of 60 are 3; more than 8 happen once in 100


def test_pairs_narrow_a_difference_of_distances():
    real, one, apart = normal(400, 0), normal(400, 1), normal(400, 3)
    noise = 0.02 * normal(400, 2)
    assert difference(real, one, one + noise).standard_error < 0.3 * difference(real, one, apart).standard_error


def test_sets_of_unequal_size_do_not_compare():
    with pytest.raises(DataError, match="distances of 50 and 40 samples do not compare; draw equal numbers"):
        difference(normal(50, 0), normal(50, 1), normal(40, 2))


def kernel_difference(real, one, other):
    sides = [(kernel_distance(real, fake, 4, 100, 0), kernel_terms(real, fake, 4, 100, 0)) for fake in (one, other)]
    return compare_distances(*sides[0], *sides[1])


def test_a_real_difference_of_kernel_distances_is_told_from_none():
    real, one, same, worse = normal(800, 0), normal(800, 1), normal(800, 2), normal(800, 3, 0.4)
    assert not kernel_difference(real, one, same).excludes_zero
    assert kernel_difference(real, worse, one).low > 0


def test_pairs_narrow_a_difference_of_kernel_distances():
    real, one, apart = normal(400, 0), normal(400, 1, 0.2), normal(400, 3, 0.2)
    near = kernel_difference(real, one, one + 0.02 * normal(400, 2))
    assert near.standard_error < 0.3 * kernel_difference(real, one, apart).standard_error
