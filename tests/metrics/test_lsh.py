import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ganpress.errors import DataError
from ganpress.metrics.neighbours.hashed import LshSettings, _expected_hits, hash_reference, lsh_scores, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import (
    LshNeighbourSettings,
    hashed_neighbourhood,
    lsh_neighbour_scores,
    score_hashed_neighbours,
)
from ganpress.metrics.neighbours.precision_recall import neighbour_scores, neighbourhood

FIXED = np.random.default_rng(99)
CENTRES, LAYER = 4 * FIXED.normal(size=(10, 6)), FIXED.normal(size=(6, 48))
SCORERS = pytest.mark.parametrize("scorer", [lsh_scores, lsh_neighbour_scores])


def manifold(count: int, seed: int, modes: int = 10, noise: float = 0.0) -> np.ndarray:
    """Modes on a curved surface (count, 48): a mixture in 6 dimensions through a fixed ReLU layer; float32."""
    random = np.random.default_rng(seed)
    latent = CENTRES[random.integers(modes, size=count)] + random.normal(size=(count, 6))
    clean = np.maximum(latent @ LAYER, 0)
    return (clean + noise * random.normal(size=clean.shape)).astype(np.float32)


def far_norms(count: int, seed: int) -> np.ndarray:
    """Samples of the right direction and a norm two to four times too large."""
    random = np.random.default_rng(seed)
    return (manifold(count, seed) * random.uniform(2, 4, (count, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return manifold(1500, 0)


@pytest.fixture(scope="module")
def hashed(real):
    return hash_reference(real, seed=3)


@pytest.fixture(scope="module")
def balls(real):
    return hashed_neighbourhood(real, seed=3)


def test_equal_distributions_score_the_ceiling(hashed):
    ours = score_hashed(hashed, manifold(1500, 1))
    assert ours.precision == pytest.approx(ours.precision_ceiling, abs=0.02)
    assert ours.recall == pytest.approx(ours.recall_ceiling, abs=0.02)
    assert ours.precision_ceiling == ours.recall_ceiling == pytest.approx(0.8, abs=0.04)


def test_the_ceiling_of_recall_is_that_of_fewer_generated_samples(hashed):
    ours = score_hashed(hashed, manifold(400, 1))
    assert ours.recall == pytest.approx(ours.recall_ceiling, abs=0.03)
    assert ours.recall_ceiling < ours.precision_ceiling - 0.1
    assert ours.relative_recall == ours.recall / ours.recall_ceiling
    assert ours.relative_precision == pytest.approx(1, abs=0.04)


def test_dropped_modes_lower_recall_but_not_precision(hashed, balls):
    whole, half = manifold(1500, 1), manifold(1500, 1, modes=5)
    for score in (lambda fake: score_hashed(hashed, fake), lambda fake: score_hashed_neighbours(balls, fake)):
        assert score(half).recall < 0.65 * score(whole).recall
        assert score(half).precision > score(whole).precision - 0.05


def test_noise_off_the_manifold_lowers_precision(hashed, balls):
    # noise that spreads samples around the surface helps recall: only precision is sure to fall
    clean, noisy = manifold(1500, 1), manifold(1500, 1, noise=1.5)
    assert score_hashed(hashed, noisy).precision < score_hashed(hashed, clean).precision - 0.15
    assert score_hashed_neighbours(balls, noisy).precision < 0.5 * score_hashed_neighbours(balls, clean).precision


def test_samples_far_away_count_for_nothing(hashed, balls):
    fake = np.concatenate([manifold(750, 1), manifold(750, 2) + 60])
    for ours in (score_hashed(hashed, fake), score_hashed_neighbours(balls, fake)):
        assert ours.precision == pytest.approx(score_hashed(hashed, fake[:750]).precision / 2, abs=0.06)
    assert score_hashed(hashed, fake).generated_scores[750:].max() == 0
    assert score_hashed_neighbours(balls, fake).generated.scores[750:].max() == 0


def isotropic(count: int, seed: int) -> np.ndarray:
    """Samples as far from the mean as others, in any direction."""
    random, plain = np.random.default_rng(seed), manifold(count, seed)
    return (plain.mean(axis=0) + plain.std() * random.normal(size=plain.shape)).astype(np.float32)


def test_outliers_that_meet_in_a_bucket_reach_nobody_else(real, balls):
    half, free = manifold(1500, 1, modes=5), LshNeighbourSettings(longest_radius=np.inf)
    dirty = np.concatenate([half, isotropic(150, 7)])

    def drift(reference):
        return score_hashed_neighbours(reference, dirty).recall - score_hashed_neighbours(reference, half).recall

    assert drift(hashed_neighbourhood(real, 3, free)) > 0.05
    assert abs(drift(balls)) < 0.005


def test_duplicates_do_not_shrink_the_other_balls(real, balls):
    fake = manifold(600, 1)
    repeated = np.concatenate([fake, np.tile(fake[:1], (900, 1))])
    plain, ours = score_hashed_neighbours(balls, fake), score_hashed_neighbours(balls, repeated)
    assert ours.recall == pytest.approx(plain.recall, abs=0.02)


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_outliers_inflate_exact_recall_but_not_these(share, real, hashed, balls):
    half = manifold(1500, 1, modes=5)
    dirty = np.concatenate([half, far_norms(int(1500 * share), 7)])
    exact = neighbourhood(real, 3)
    drift = neighbour_scores(exact, dirty).recall - neighbour_scores(exact, half).recall
    assert drift > 0.05
    assert abs(score_hashed(hashed, dirty).recall - score_hashed(hashed, half).recall) < drift / 10
    moved = score_hashed_neighbours(balls, dirty).recall - score_hashed_neighbours(balls, half).recall
    assert abs(moved) < drift / 10


def test_outliers_of_the_reference_are_told_by_their_missing_balls():
    random = np.random.default_rng(0)
    dirty = np.concatenate([manifold(1140, 0), 200 * random.normal(size=(60, 48)).astype(np.float32)])
    scores = lsh_neighbour_scores(dirty, manifold(1200, 1), 0)
    assert scores.reference_without_ball == pytest.approx(0.05, abs=0.02)
    assert scores.generated_without_ball < 0.02
    assert scores.reference.scores[1140:].max() < 0.5


def test_single_bad_samples_are_found(hashed, balls):
    fake, bad = np.concatenate([manifold(900, 1), far_norms(100, 5)]), np.arange(1000) >= 900
    assert roc_auc_score(bad, -score_hashed(hashed, fake).generated_scores) > 0.95
    assert roc_auc_score(bad, -score_hashed_neighbours(balls, fake).generated.scores) > 0.9


def test_samples_of_lost_modes_are_found(real, hashed):
    random = np.random.default_rng(0)
    mode = random.integers(10, size=1500)  # the first draw of `manifold`
    scores = score_hashed(hashed, manifold(1500, 1, modes=5)).reference_scores
    assert roc_auc_score(mode < 5, scores) > 0.9


def test_lsh_is_its_definition_on_50_points():
    settings = LshSettings(tables=6, bits=3, calibration_tables=2)
    real, fake = manifold(50, 0).astype(np.float64), manifold(40, 1).astype(np.float64)
    reference = hash_reference(real, 0, settings)
    ours = score_hashed(reference, fake)
    mine, theirs = hashes_by_hand(reference.family, real, fake)
    for sample in range(40):
        hits = [sum(key == theirs[sample][table] for key in column(mine, table)) >= 2 for table in range(6)]
        assert ours.generated_scores[sample] == pytest.approx(sum(hits) / 6, abs=1e-12)
    for sample in range(50):
        hits = [sum(key == mine[sample][table] for key in column(theirs, table)) >= 2 for table in range(6)]
        assert ours.reference_scores[sample] == pytest.approx(sum(hits) / 6, abs=1e-12)


def hashes_by_hand(family, real, fake) -> list[list[list[tuple[int, ...]]]]:
    """Tuples of hashes [sample][table] of both sets, from the family's numbers."""
    vectors, offsets = family.vectors.numpy(), family.offsets.numpy()
    sets = []
    for features in (real, fake):
        hashes = np.floor((features - real.mean(axis=0)) @ vectors / family.width + offsets).astype(int)
        sets.append([[tuple(row) for row in sample.reshape(-1, family.bits)] for sample in hashes])
    return sets


def column(keys, table):
    return [sample[table] for sample in keys]


def test_lsh_with_neighbours_is_its_definition_on_50_points():
    k, settings = 2, LshNeighbourSettings(neighbours=2, tables=3, bits=4, bucket_factor=2)
    real, fake = manifold(50, 0).astype(np.float64), manifold(45, 1).astype(np.float64)
    reference = hashed_neighbourhood(real, 0, settings)
    ours = score_hashed_neighbours(reference, fake)
    mine, theirs = hashes_by_hand(reference.family, real, fake)
    real_radii, fake_radii = radii_by_hand(real, mine, k), radii_by_hand(fake, theirs, k)
    assert ours.reference_without_ball == np.mean([radius is None for radius in real_radii])
    for found, points, keys, others, other_keys, radii in (
        (ours.generated, fake, theirs, real, mine, real_radii),
        (ours.reference, real, mine, fake, theirs, fake_radii),
    ):
        for sample, (point, key) in enumerate(zip(points, keys, strict=True)):
            mates = [
                (np.linalg.norm(point - other), radius)
                for other, other_key, radius in zip(others, other_keys, radii, strict=True)
                if radius is not None and any(one == two for one, two in zip(key, other_key, strict=True))
            ]
            inside = sum(distance <= radius for distance, radius in mates)
            assert found.inside[sample] == (inside > 0)
            assert found.balls[sample] == inside / k
            best = max((radius / (radius + distance) for distance, radius in mates), default=0)
            assert found.scores[sample] == pytest.approx(best, abs=1e-9)


def radii_by_hand(points, keys, k) -> list[float | None]:
    """Distance to the k-th mate in the table where it is least, at most twice the (lower) median of all."""
    radii: list[float | None] = []
    for sample, key in enumerate(keys):
        found = []
        for table in range(len(key)):
            mates = [other for other in range(len(keys)) if other != sample and keys[other][table] == key[table]]
            distances = sorted(np.linalg.norm(points[sample] - points[other]) for other in mates)
            found += distances[k - 1 : k]
        radii.append(min(found, default=None))
    found = sorted(radius for radius in radii if radius is not None)
    return [None if radius is None else min(radius, 2 * found[(len(found) - 1) // 2]) for radius in radii]


@SCORERS
def test_equal_seeds_give_equal_scores(scorer):
    real, fake = manifold(400, 0), manifold(400, 1, modes=6)
    one, same, other = (scorer(real, fake, seed) for seed in (1, 1, 2))
    assert (one.precision, one.recall, one.width) == (same.precision, same.recall, same.width)
    assert one.width != other.width
    assert other.recall == pytest.approx(one.recall, abs=0.05)


@SCORERS
def test_an_offset_and_a_scale_do_not_matter(scorer):
    # 1e4 is exact on features that are rounded to a grid of 2^-6 first
    real, fake = (np.round(manifold(500, seed) * 64) / 64 for seed in (0, 1))
    plain, far, scaled = (scorer(f(real), f(fake), 0) for f in (lambda x: x, lambda x: x + 1e4, lambda x: 8 * x))
    for other in (far, scaled):
        assert other.precision == pytest.approx(plain.precision, abs=2e-3)
        assert other.recall == pytest.approx(plain.recall, abs=2e-3)


@SCORERS
def test_a_rotation_matters_as_little_as_another_seed(scorer):
    real, fake = manifold(1000, 0), manifold(1000, 1, modes=6)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(48, 48)))[0].astype(np.float32)
    plain, turned = scorer(real, fake, 0), scorer(real @ turn, fake @ turn, 0)
    assert turned.precision == pytest.approx(plain.precision, abs=0.04)
    assert turned.recall == pytest.approx(plain.recall, abs=0.04)


def test_the_order_of_generated_samples_does_not_matter(hashed, balls):
    fake = manifold(600, 1, modes=7)
    order = np.random.default_rng(0).permutation(600)
    plain, shuffled = score_hashed(hashed, fake), score_hashed(hashed, fake[order])
    assert np.array_equal(shuffled.generated_scores, plain.generated_scores[order])
    assert np.array_equal(shuffled.reference_scores, plain.reference_scores)
    near, turned = score_hashed_neighbours(balls, fake), score_hashed_neighbours(balls, fake[order])
    assert np.array_equal(turned.generated.inside, near.generated.inside[order])
    assert turned.recall == near.recall


def test_batches_give_what_the_whole_gives(real, hashed):
    fake = manifold(1500, 1)
    streamed = hash_reference((real[start : start + 70] for start in range(0, 1500, 70)), seed=3)
    assert torch.equal(streamed.keys, hashed.keys)
    ours = score_hashed(streamed, (torch.from_numpy(fake[start : start + 333]) for start in range(0, 1500, 333)))
    assert np.array_equal(ours.generated_scores, score_hashed(hashed, fake).generated_scores)


def test_a_set_holds_itself(real, hashed, balls):
    ours = score_hashed_neighbours(balls, real)
    with_ball = balls.squared_radii.numpy() >= 0
    assert ours.generated.inside[with_ball].all()
    assert (ours.generated.scores[with_ball] == 1).all()
    assert np.array_equal(ours.generated.scores, ours.reference.scores)
    itself = score_hashed(hashed, real)
    assert itself.precision == itself.recall > itself.precision_ceiling


def test_a_collapsed_generator_has_precision_without_recall(real, hashed, balls):
    typical = score_hashed(hashed, real).generated_scores.argmax()
    fake = np.tile(real[typical], (300, 1))
    for ours in (score_hashed(hashed, fake), score_hashed_neighbours(balls, fake)):
        assert ours.precision > 0.9
        assert ours.recall < 0.2


def test_exact_neighbours_are_followed_over_dropped_modes(real, balls):
    exact = neighbourhood(real, 3)
    for modes in (10, 6, 3):
        fake = manifold(1500, 1, modes=modes)
        expected, ours = neighbour_scores(exact, fake), score_hashed_neighbours(balls, fake)
        assert ours.precision == pytest.approx(expected.precision, abs=0.08)
        assert ours.recall == pytest.approx(expected.recall, abs=0.08)


def test_scores_lie_between_0_and_1(hashed, balls):
    fake = manifold(300, 1, noise=0.5)
    lsh, near = score_hashed(hashed, fake), score_hashed_neighbours(balls, fake)
    for scores in (lsh.generated_scores, lsh.reference_scores, near.generated.scores, near.reference.scores):
        assert 0 <= scores.min() < scores.max() <= 1
    assert np.array_equal(near.generated.inside, near.generated.scores >= 0.5 - 1e-7)


@SCORERS
def test_unusable_features_are_refused_in_one_line(scorer):
    real, broken = manifold(60, 0), manifold(50, 1)
    broken[7, 0] = np.nan
    for features, words in (
        (broken, "the generated features hold NaN or infinity in 1 of 50 samples; the network has diverged"),
        (np.zeros((50, 8), np.float32), "48 and 8 features; score both with the same judge"),
        (real[:1], "the generated features: found 1 samples, at least [24] are needed; give more images"),
        (real[0], "the generated features must be a matrix"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            scorer(real, features, 0)
        assert "\n" not in str(caught.value)


@SCORERS
def test_an_unusable_reference_is_refused(scorer):
    fake = manifold(50, 1)
    with pytest.raises(DataError, match="the reference features: found 3 samples, at least 4 are needed"):
        scorer(fake[:3], fake, 0)
    with pytest.raises(DataError, match="the reference features are all equal"):
        scorer(np.ones((20, 48), np.float32), fake, 0)
    with pytest.raises(DataError, match="the reference features hold NaN"):
        scorer(np.full((20, 48), np.inf, np.float32), fake, 0)


@pytest.mark.gpu
@SCORERS
def test_a_gpu_gives_what_the_processor_gives(scorer):
    real, fake = torch.from_numpy(manifold(800, 0)), torch.from_numpy(manifold(800, 1, modes=6))
    here, there = scorer(real, fake, 0), scorer(real.cuda(), fake.cuda(), 0)
    assert there.precision == pytest.approx(here.precision, abs=2e-3)
    assert there.recall == pytest.approx(here.recall, abs=2e-3)


@pytest.mark.parametrize(("available", "drawn"), [(359, 359), (359, 100), (9999, 5000), (3, 2)])
@pytest.mark.parametrize("mates", [1, 2, 3])
def test_chance_of_mates_is_the_hypergeometric_distribution(available, drawn, mates):
    from scipy.stats import hypergeom

    others = np.array([0, 1, 2, 3, 3, available // 2, available])
    expected = hypergeom.sf(mates - 1, available, others, drawn).mean()
    assert _expected_hits(*np.unique(others, return_counts=True), available, drawn, mates) == pytest.approx(
        expected, abs=1e-10
    )
