"""Precision, recall, density and coverage by k nearest neighbours, exact; in memory see `nearest`.

Precision and recall are those of Kynkäänniemi et al. (2019), density and coverage those of Naeem et al. (2020). A
sample lies in a ball when its distance is *strictly* below the radius, as in the reference implementation `prdc`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganpress.metrics.feature_inputs import Matrix, as_tensor, same_columns
from ganpress.metrics.neighbours.distance_bounds import Frame, full_precision, lower_bounds, pairs_below, tiles
from ganpress.metrics.neighbours.exact import BLOCK, squared_radii


@dataclass(frozen=True)
class Neighbourhood:
    """A reference set with the ball around each sample, computed once and used for every generator."""

    features: Tensor
    """(N, F), as given."""
    squared_radii: Tensor
    """(N,) float64, squared distance to the k-th nearest other sample."""
    neighbours: int


@dataclass(frozen=True)
class NeighbourScores:
    """Quality (precision, density) and diversity (recall, coverage) of a generated set, apart from each other."""

    precision: float
    """Share of generated samples inside a ball of the reference, [0, 1]."""
    recall: float
    """Share of reference samples inside a ball of the generated set, [0, 1]."""
    density: float
    """Balls of the reference that a generated sample lies in, divided by k; 1 for equal distributions, or more."""
    coverage: float
    """Share of balls of the reference that hold a generated sample, [0, 1]; 1 - 2^-k for equal distributions."""


def neighbourhood(reference: Matrix, neighbours: int, block: int = BLOCK) -> Neighbourhood:
    """Prepare the reference set (N, F) with the k = `neighbours` balls.

    Raises:
        DataError: if it has no more samples than k, or holds NaN.
    """
    features = as_tensor(reference, "the reference features", 2)
    return Neighbourhood(features, squared_radii(features, neighbours, block), neighbours)


@full_precision()
def neighbour_scores(reference: Neighbourhood, generated: Matrix, block: int = BLOCK) -> NeighbourScores:
    """Score generated features (M, F) against a prepared reference.

    Raises:
        DataError: if M is not above k, features hold NaN, or their number differs from the reference's.
    """
    real = reference.features
    fake = as_tensor(generated, "the generated features", 2).to(real.device)
    same_columns(real, fake)
    frame = Frame.around(real, fake)
    real_radii, fake_radii = reference.squared_radii[:, None], squared_radii(fake, reference.neighbours, block)[None]
    precise, recalled, covered = (torch.zeros(len(x), dtype=torch.bool, device=x.device) for x in (fake, real, real))
    in_balls = 0
    for rows, left, columns, right in tiles(frame, real, fake, block):
        bounds = lower_bounds(left, right)
        holding, held = pairs_below(frame, left, right, bounds, real_radii[rows])
        precise[columns][held], covered[rows][holding] = True, True
        in_balls += len(held)
        recalled[rows][pairs_below(frame, left, right, bounds, fake_radii[:, columns])[0]] = True
    return NeighbourScores(
        precision=float(precise.double().mean()),
        recall=float(recalled.double().mean()),
        density=in_balls / (reference.neighbours * len(fake)),
        coverage=float(covered.double().mean()),
    )
