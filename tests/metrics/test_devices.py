"""Scores do not depend on the device; skipped with only one device."""

import numpy as np
import pytest
import torch

from ganpress.metrics.neighbours.hashed import lsh_scores
from ganpress.metrics.neighbours.hashed_nearest import lsh_neighbour_scores
from ganpress.metrics.neighbours.precision_recall import neighbour_scores, neighbourhood

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture
def sets():
    random = np.random.default_rng(0)
    centres = random.normal(size=(10, 32))
    chosen = random.integers(10, size=600), random.integers(5, size=500)
    return [
        torch.from_numpy((centres[one] + 0.3 * random.normal(size=(len(one), 32))).astype(np.float32)) for one in chosen
    ]


def test_exact_neighbours_are_the_same(sets):
    real, fake = sets
    assert neighbour_scores(neighbourhood(real.cuda(), 3), fake.cuda()) == neighbour_scores(
        neighbourhood(real, 3), fake
    )


@pytest.mark.parametrize("score", [lsh_scores, lsh_neighbour_scores])
def test_hashed_scores_are_the_same_but_for_samples_on_a_border(sets, score):
    here, there = score(*sets, seed=0), score(*(one.cuda() for one in sets), seed=0)
    assert (there.precision, there.recall) == pytest.approx((here.precision, here.recall), abs=0.01)
