import logging

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric

from ganpress.errors import DataError
from ganpress.metrics.distributions.frechet import (
    FeatureStatistics,
    StatisticsAccumulator,
    features_to_statistics,
    frechet_distance,
    frechet_distance_of_features,
)


def features(count: int, size: int = 16, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, size)) @ np.diag(np.linspace(0.2, 2, size)) + shift


def gaussian(mean: list[float], variances: list[float]) -> FeatureStatistics:
    return FeatureStatistics(10_000, np.array(mean), np.diag(variances))


def test_closed_form_of_commuting_gaussians():
    # sum (mu_1 - mu_2)^2 + sum (s_1 - s_2)^2 for diagonal covariances (Dowson & Landau 1982)
    first, second = gaussian([0, 0, 1], [1, 4, 9]), gaussian([1, 0, -1], [4, 4, 1])
    assert frechet_distance(first, second) == pytest.approx(1 + 4 + (1 - 2) ** 2 + (3 - 1) ** 2, rel=1e-12)


def test_closed_form_of_non_commuting_covariances():
    # 2 x 2: Tr (AB)^{1/2} = sqrt(Tr AB + 2 sqrt(det AB)), by Cayley-Hamilton
    a, b = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[1.0, -0.6], [-0.6, 3.0]])
    overlap = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    first, second = FeatureStatistics(99, np.zeros(2), a), FeatureStatistics(99, np.zeros(2), b)
    assert frechet_distance(first, second) == pytest.approx(np.trace(a + b) - 2 * overlap, rel=1e-12)


@pytest.mark.parametrize("count", [200, 20, 8])
def test_a_set_has_no_distance_to_itself(count):
    one = features(count)
    assert frechet_distance_of_features(one, one) == pytest.approx(0, abs=1e-9)


def test_it_is_symmetric():
    one, other = features_to_statistics(features(100)), features_to_statistics(features(90, seed=1, shift=0.3))
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-10)


def test_it_equals_torch_fidelity():
    one, other = features(400), features(300, seed=1, shift=0.1)
    stats = [{"mu": x.mean(0), "sigma": np.cov(x, rowvar=False)} for x in (one, other)]
    expected = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance_of_features(one, other) == pytest.approx(expected, rel=1e-6)


def test_both_ways_agree_where_both_are_sound():
    one, other = features(40, 24), features(45, 24, seed=1)  # between F and 2 F: nuclear norm, yet full rank
    statistics = features_to_statistics(one), features_to_statistics(other)
    assert frechet_distance_of_features(one, other) == pytest.approx(frechet_distance(*statistics), rel=1e-8)


@pytest.mark.parametrize("count", [100, 12])
def test_a_common_offset_of_float32_features_changes_nothing(count):
    # On a grid of 2^-6, x + 1e4 is exact in float32, so whatever changes is lost by the computation.
    one, other = (np.round(features(count, seed=seed) * 64) / 64 for seed in (0, 1))
    plain = frechet_distance_of_features(one, other)
    moved = [(x + 1e4).astype(np.float32) for x in (one, other)]
    assert frechet_distance_of_features(*moved) == pytest.approx(plain, rel=1e-8)


def test_rotation_changes_nothing():
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))
    one, other = features(100), features(100, seed=1, shift=0.2)
    turned = frechet_distance_of_features(one @ rotation, other @ rotation)
    assert turned == pytest.approx(frechet_distance_of_features(one, other), rel=1e-9)


def test_a_pure_shift_gives_its_squared_length():
    assert frechet_distance_of_features(features(80), features(80) + 0.5) == pytest.approx(16 * 0.25, rel=1e-9)


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_statistics_do_not_depend_on_the_batch_size(batch):
    whole = features(150, shift=1e4)
    accumulator = StatisticsAccumulator()
    for start in range(0, len(whole), batch):
        accumulator.update(torch.from_numpy(whole[start : start + batch]))
    streamed = accumulator.statistics()
    np.testing.assert_allclose(streamed.mean, whole.mean(0), rtol=1e-14)
    np.testing.assert_allclose(streamed.covariance, np.cov(whole, rowvar=False), rtol=1e-8, atol=1e-10)
    assert streamed.count == 150


def test_more_noise_is_further_away():
    real, noise = features(500), np.random.default_rng(5).normal(size=(500, 16))
    distances = [frechet_distance_of_features(real, features(500, seed=1) + level * noise) for level in (0, 0.5, 1, 2)]
    assert distances == sorted(distances)


def test_too_few_samples_for_the_features_are_warned_about(caplog):
    with caplog.at_level(logging.WARNING):
        frechet_distance_of_features(features(10), features(300))
    assert "FID of 10 and 300 samples with 16 features" in caplog.text


def test_enough_samples_are_not_warned_about(caplog):
    with caplog.at_level(logging.WARNING):
        frechet_distance_of_features(features(100), features(100, seed=1))
    assert not caplog.records


def test_a_single_sample_is_refused():
    with pytest.raises(DataError, match="found 1 samples, at least 2 are needed"):
        features_to_statistics(features(1))
    with pytest.raises(DataError, match="covariance needs at least 2 samples, found 1"):
        StatisticsAccumulator().update(features(1)).statistics()


def test_nan_is_refused():
    broken = features(10)
    broken[4] = np.nan
    with pytest.raises(DataError, match="hold NaN or infinity in 1 of 10 samples"):
        frechet_distance_of_features(broken, features(10))


def test_features_of_two_judges_are_refused():
    with pytest.raises(DataError, match="16 and 8 features; score both with the same judge"):
        frechet_distance_of_features(features(40), features(40, 8))


def test_a_vector_is_refused():
    with pytest.raises(DataError, match=r"must be a matrix .* found shape \(5,\)"):
        features_to_statistics(np.zeros(5))
