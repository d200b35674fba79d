from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from ganpress.errors import DataError
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.frechet_error import frechet_terms
from ganpress.metrics.distributions.kernel import kernel_distance
from ganpress.metrics.distributions.kernel_error import kernel_terms
from ganpress.metrics.intervals.random_parts import RandomParts
from ganpress.metrics.intervals.score_intervals import interval_metrics, score_differences
from ganpress.metrics.neighbours.hashed import hash_reference, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import hashed_neighbourhood, score_hashed_neighbours
from ganpress.metrics.neighbours.precision_recall import neighbour_scores, neighbourhood
from ganpress.metrics.scores import Scores

FIXED = np.random.default_rng(99)
CENTRES, LAYER = 4 * FIXED.normal(size=(10, 4)), FIXED.normal(size=(4, 16))
PROTOCOL = "400_test_judge"


def manifold(seed: int, modes: int = 10, count: int = 400) -> np.ndarray:
    random = np.random.default_rng(seed)
    latent = CENTRES[random.integers(modes, size=count)] + random.normal(size=(count, 4))
    return np.maximum(latent @ LAYER, 0).astype(np.float32)


@pytest.fixture(scope="module")
def score():
    real = manifold(0)
    exact, hashed, balls = neighbourhood(real, 3), hash_reference(real, 0), hashed_neighbourhood(real, 0)
    parts = RandomParts(real, 0, partial(hash_reference, seed=0), score_hashed)
    ball_parts = RandomParts(real, 0, partial(hashed_neighbourhood, seed=0), score_hashed_neighbours)

    def scored(fake: np.ndarray) -> Scores:
        return Scores(
            images=len(fake),
            split="test",
            judge="judge",
            fid=frechet_distance_of_features(real, fake),
            kid=kernel_distance(real, fake, 2, 100, 0),
            neighbours=neighbour_scores(exact, fake),
            lsh=score_hashed(hashed, fake),
            lsh_neighbours=score_hashed_neighbours(balls, fake),
            vol=np.ones(len(fake)),
            fid_terms=frechet_terms(real, fake),
            kid_terms=kernel_terms(real, fake, 2, 100, 0),
            lsh_parts=parts.scores(fake),
            lsh_neighbour_parts=ball_parts.scores(fake),
        )

    return scored


def test_a_teacher_has_intervals_and_no_differences(score):
    teacher = score(manifold(1))
    found = interval_metrics(teacher, teacher)
    families = ["fid", "kid", *(f"{side}_{kind}" for kind in ("lsh", "lshknn") for side in ("precision", "recall"))]
    assert set(found) == {f"{name}_{PROTOCOL}_{end}" for name in families for end in ("low", "high")}
    name = f"recall_lshknn_{PROTOCOL}"
    assert found[f"{name}_low"] < teacher.metrics(teacher)[name] < found[f"{name}_high"]


def test_lost_modes_are_a_real_difference_and_a_twin_is_none(score):
    teacher, poor, twin = score(manifold(1)), score(manifold(1, modes=5)), score(manifold(1))
    real, none = score_differences(poor, teacher), score_differences(twin, teacher)
    assert set(real) == {"fid", "kid", "precision_lsh", "recall_lsh", "precision_lshknn", "recall_lshknn"}
    assert {name for name, one in real.items() if one.excludes_zero} >= {"fid", "kid", "recall_lsh", "recall_lshknn"}
    assert real["fid"].low > 0 > real["recall_lsh"].high
    assert not [name for name, one in none.items() if one.excludes_zero]


def test_differences_have_names_with_the_protocol(score):
    teacher, poor = score(manifold(1)), score(manifold(1, modes=5))
    found = interval_metrics(poor, teacher)
    name = f"recall_lsh_difference_{PROTOCOL}"
    assert found[name] == pytest.approx(poor.lsh.recall - teacher.lsh.recall)
    assert found[f"{name}_low"] < found[name] < found[f"{name}_high"] < 0


def test_what_was_not_measured_is_left_out(score):
    teacher, other = score(manifold(1)), score(manifold(2))
    bare = replace(other, fid_terms=None, kid_terms=None, lsh_parts=None, lsh_neighbour_parts=None)
    assert not score_differences(bare, teacher)
    assert not interval_metrics(bare, bare)


def test_generators_of_unequal_numbers_of_images_are_refused(score):
    with pytest.raises(DataError, match="distances of 300 and 400 samples do not compare"):
        score_differences(score(manifold(1, count=300)), score(manifold(1)))
