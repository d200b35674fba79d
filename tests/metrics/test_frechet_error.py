import numpy as np
import pytest

from ganpress.errors import DataError
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.frechet_error import frechet_terms


def features(count: int, seed: int, shift: float = 0.0, size: int = 6) -> np.ndarray:
    """Correlated features of unequal variances."""
    layer = np.random.default_rng(9).normal(size=(size, size))
    return (np.random.default_rng(seed).normal(size=(count, size)) + shift) @ layer


def test_a_term_is_what_the_weight_of_its_sample_changes():
    # the derivative by finite differences: one sample doubled among many
    real, fake = features(4000, 0), features(4000, 1, 0.5)
    terms, plain = frechet_terms(real, fake), frechet_distance_of_features(real, fake)
    for side in (0, 1):
        for row in (3, 17, 100):
            sets = [real, fake]
            sets[side] = np.concatenate([sets[side], sets[side][row : row + 1]])
            moved = (frechet_distance_of_features(*sets) - plain) * len(sets[side])
            expected = (terms.reference, terms.generated)[side][row]
            assert moved == pytest.approx(expected, abs=0.02 * np.abs(terms.generated).max())


def test_the_error_is_the_spread_over_independent_data():
    sets = [(features(300, 2 * s), features(300, 2 * s + 1, 0.4)) for s in range(40)]
    spread = np.std([frechet_distance_of_features(*pair) for pair in sets], ddof=1)
    found = np.mean([frechet_terms(*pair).standard_error for pair in sets])
    assert 0.7 * spread < found < 1.4 * spread


def test_the_error_is_that_of_a_bootstrap():
    real, fake = features(400, 0), features(400, 1, 0.4)
    random = np.random.default_rng(0)
    resampled = [
        frechet_distance_of_features(real[random.integers(400, size=400)], fake[random.integers(400, size=400)])
        for _ in range(100)
    ]
    assert frechet_terms(real, fake).standard_error == pytest.approx(np.std(resampled, ddof=1), rel=0.25)


def test_features_that_are_never_seen_change_nothing():
    real, fake = features(300, 0), features(300, 1, 0.4)
    padded = [np.concatenate([side, np.zeros((300, 2))], axis=1) for side in (real, fake)]
    plain, wider = frechet_terms(real, fake), frechet_terms(*padded)
    np.testing.assert_allclose(wider.generated, plain.generated, atol=1e-6)
    np.testing.assert_allclose(wider.reference, plain.reference, atol=1e-6)


def test_the_worst_samples_have_the_largest_terms():
    fake = features(500, 1)
    fake[:10] += 20
    assert set(np.argsort(frechet_terms(features(500, 0), fake).generated)[-10:]) == set(range(10))


def test_fewer_samples_than_features_have_no_terms():
    assert frechet_terms(features(100, 0, size=32), features(31, 1, size=32)) is None
    assert frechet_terms(features(31, 0, size=32), features(100, 1, size=32)) is None


def test_features_of_two_judges_are_refused():
    with pytest.raises(DataError, match="6 and 5 features"):
        frechet_terms(features(50, 0), features(50, 1, size=5))
