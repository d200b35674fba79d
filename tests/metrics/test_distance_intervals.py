import numpy as np
import pytest

from ganpress.errors import DataError
from ganpress.metrics.distance_intervals import compare_frechet, compare_kernel, frechet_interval
from ganpress.metrics.frechet import frechet_distance_of_features
from ganpress.metrics.kernel import disjoint_distances, kernel_distance


def normal(count: int, seed: int, shift: float = 0.0, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)) + shift


def test_the_interval_stands_about_the_distance_itself():
    real, fake = normal(400, 0), normal(300, 1, 0.2)
    interval = frechet_interval(real, fake, 0)
    assert interval.estimate == pytest.approx(frechet_distance_of_features(real, fake), rel=1e-9)
    assert interval.high - interval.estimate == pytest.approx(1.96 * interval.standard_error, rel=1e-3)
    assert interval.estimate - interval.low == pytest.approx(interval.high - interval.estimate)


def test_the_error_is_the_spread_over_independent_data():
    found = [frechet_interval(normal(300, 2 * s), normal(300, 2 * s + 1, 0.4), s, 30) for s in range(30)]
    spread = np.std([interval.estimate for interval in found], ddof=1)
    assert 0.65 * spread < np.mean([interval.standard_error for interval in found]) < 1.6 * spread


def test_fewer_samples_than_features_have_no_interval():
    assert frechet_interval(normal(100, 0, size=32), normal(31, 1, size=32), 0) is None
    assert frechet_interval(normal(31, 0, size=32), normal(100, 1, size=32), 0) is None


def test_a_real_difference_of_distances_is_told_from_none():
    real, one, same, worse = normal(500, 0), normal(500, 1), normal(500, 2), normal(500, 3, 0.3)
    assert not compare_frechet(real, one, same, 0, paired=False).excludes_zero
    difference = compare_frechet(real, worse, one, 0, paired=False)
    assert difference.low > 0
    expected = frechet_distance_of_features(real, worse) - frechet_distance_of_features(real, one)
    assert difference.estimate == pytest.approx(expected, rel=1e-9)


def test_pairs_narrow_a_difference_of_distances():
    real, one = normal(400, 0), normal(400, 1)
    other = one + 0.02 * normal(400, 2)
    widths = [compare_frechet(real, one, other, 0, paired).standard_error for paired in (True, False)]
    assert widths[0] < 0.3 * widths[1]


def test_sets_of_unequal_size_have_unequal_bias():
    with pytest.raises(DataError, match="FID of 50 and 40 samples differ by their bias; draw equal numbers"):
        compare_frechet(normal(50, 0), normal(50, 1), normal(40, 2), 0, paired=False)


def test_features_of_two_judges_are_refused():
    with pytest.raises(DataError, match="6 and 5 features"):
        frechet_interval(normal(50, 0), normal(50, 1, size=5), 0)


def test_disjoint_distances_are_those_of_the_kernel_distance():
    real, fake = normal(200, 0), normal(200, 1, 0.2)
    values, whole = disjoint_distances(real, fake, 50, 3), kernel_distance(real, fake, 4, 50, 3)
    assert len(values) == 4
    assert whole.mean == values.mean()
    assert whole.standard_error == values.std(ddof=1) / 2


def test_a_real_difference_of_kernel_distances_is_told_from_none():
    real, one, same, worse = normal(800, 0), normal(800, 1), normal(800, 2), normal(800, 3, 0.4)
    assert not compare_kernel(real, one, same, 100, 0).excludes_zero
    assert compare_kernel(real, worse, one, 100, 0).low > 0


def test_one_subset_tells_no_difference():
    with pytest.raises(DataError, match="2 disjoint subsets of 60 samples, found 1; lower kid_subset_size"):
        compare_kernel(normal(100, 0), normal(100, 1), normal(100, 2), 60, 0)
