"""Precision and recall by k nearest bucket neighbours (LSH + KNN): O(log N) for each sample.

The balls are those of Kynkäänniemi et al. (2019), with neighbours searched only in the sample's hash buckets, whose
mean size grows as log2 N. A ball is closed, and the smallest over all tables. A sample with fewer than k bucket
neighbours in every table has no ball, and no radius is longer than twice its set's median, so outliers have no effect,
whether they are alone in their buckets or together in one.

The idea is from Mordido et al. (2021), of which only the abstract was available; the definition is this project's own.
It is a little above exact k-NN precision and recall on features of low intrinsic dimension, and far above them on noise
without neighbourhoods. Features may be of any domain; distances are computed on their own device, in their own
precision.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from ganpress.metrics.feature_inputs import Float64, Matrix, as_tensor
from ganpress.metrics.neighbours.buckets import bucket_sizes, bucket_tiles
from ganpress.metrics.neighbours.hashing import HashFamily, enough, fit_family, fitted


@dataclass(frozen=True)
class LshNeighbourSettings:
    """Settings of LSH + KNN scores."""

    neighbours: int = 3
    """k: a ball reaches to the k-th nearest bucket neighbour."""
    tables: int = 4
    bits: int = 8
    bucket_factor: float = 4.0
    """Mean bucket size of a reference sample divided by log2 N, which determines the width."""
    longest_radius: float = 2.0
    """Longer radii are reduced to this multiple of their set's median. That hardly changes the scores of a clean set,
    but balls of outliers, which are also far from their own bucket neighbours, then contain no other sample.
    """


@dataclass(frozen=True)
class HashedNeighbourhood:
    """A reference set with a ball around each sample with enough bucket neighbours, used for every generator."""

    family: HashFamily
    features: Tensor
    """Features as given, (N, F)."""
    keys: Tensor
    """(N, L)"""
    squared_radii: Tensor
    """Squared radius of each sample (N,); -1 if it has no ball."""
    settings: LshNeighbourSettings
    seed: int


@dataclass(frozen=True)
class BallScores:
    """Results of one set's samples with the balls of the other set in the same buckets."""

    inside: NDArray[np.bool_]
    """(N,) whether the sample lies in any ball."""
    balls: Float64
    """(N,) balls that the sample lies in, divided by k: the summands of density (Naeem et al. 2020)."""
    scores: Float64
    """(N,) radius / (radius + distance) for the ball where that is largest: 1 at a centre, 0.5 on a surface, 0 far off.
    The ratio radius / distance is the realism of Kynkäänniemi et al. (2019).
    """


@dataclass(frozen=True)
class LshNeighbourScores:
    """Quality (precision) and diversity (recall) of a generated set, by single samples too."""

    precision: float
    """Share of generated samples in balls of the reference, [0, 1]."""
    recall: float
    """Share of reference samples in balls of the generated set, [0, 1]."""
    generated: BallScores
    reference: BallScores
    reference_without_ball: float
    """Share of reference samples with fewer than k bucket neighbours in every table."""
    generated_without_ball: float
    width: float
    """Width of the hashes, in units of the features."""
    settings: LshNeighbourSettings
    seed: int


def lsh_neighbour_scores(
    reference: Matrix, generated: Matrix, seed: int, settings: LshNeighbourSettings | None = None
) -> LshNeighbourScores:
    """Score generated features (M, F) against a reference (N, F) by balls of bucket neighbours.

    Raises:
        DataError: as `hashed_neighbourhood` and `score_hashed_neighbours`.
    """
    return score_hashed_neighbours(hashed_neighbourhood(reference, seed, settings), generated)


def hashed_neighbourhood(
    reference: Matrix, seed: int, settings: LshNeighbourSettings | None = None
) -> HashedNeighbourhood:
    """Put a reference (N, F) into tables whose mean bucket grows as log2 N, and give each sample its ball.

    Raises:
        DataError: if it has no more samples than k, all are equal, or it holds NaN.
    """
    settings = settings or LshNeighbourSettings()
    features = as_tensor(reference, "the reference features")
    enough(len(features), settings.neighbours + 1, "the reference features")
    family, projections = fit_family(features, settings.tables, settings.bits, seed)

    def mean_bucket(candidate: HashFamily) -> float:
        keys = candidate.keys(projections)
        return float(np.mean([float(bucket_sizes(table).double().mean()) for table in keys.T]))

    family = fitted(family, projections, mean_bucket, settings.bucket_factor * math.log2(len(features)))
    keys = family.keys(projections)
    return HashedNeighbourhood(family, features, keys, _squared_radii(features, keys, settings), settings, seed)


def score_hashed_neighbours(reference: HashedNeighbourhood, generated: Matrix) -> LshNeighbourScores:
    """Score generated features (M, F) against a hashed neighbourhood.

    Raises:
        DataError: if M is not above k, features hold NaN, or their number is not the reference's.
    """
    settings = reference.settings
    fake = as_tensor(generated, "the generated features").to(reference.features)
    enough(len(fake), settings.neighbours + 1, "the generated features")
    keys = reference.family.hash(fake, "the generated features")
    radii = _squared_radii(fake, keys, settings)
    ours, theirs = _Side(radii), _Side(reference.squared_radii)
    for table in range(settings.tables):
        columns = keys[:, table], reference.keys[:, table]
        for tiles in bucket_tiles(fake, reference.features, *columns):
            squared = tiles.squared
            for earlier in range(table):  # a pair that an earlier table has found counts once
                one, other = _of(keys[:, earlier], tiles.rows), _of(reference.keys[:, earlier], tiles.columns)
                squared.masked_fill_(one[:, :, None] == other[:, None], torch.inf)
            ours.add(tiles.rows, tiles.columns, squared, theirs.radii)
            theirs.add(tiles.columns, tiles.rows, squared.mT, ours.radii)
    generated_scores, reference_scores = (side.scores(settings.neighbours) for side in (ours, theirs))
    return LshNeighbourScores(
        precision=float(generated_scores.inside.mean()),
        recall=float(reference_scores.inside.mean()),
        generated=generated_scores,
        reference=reference_scores,
        reference_without_ball=float((reference.squared_radii < 0).double().mean()),
        generated_without_ball=float((radii < 0).double().mean()),
        width=reference.family.width,
        settings=settings,
        seed=reference.seed,
    )


def _squared_radii(
    features: Float[Tensor, "n f"], keys: Int64[Tensor, "n l"], settings: LshNeighbourSettings
) -> Float[Tensor, " n"]:
    """Return squared distances to the k-th bucket neighbour, the smallest over tables; -1 if no table has k."""
    k = settings.neighbours
    radii = torch.full((len(features),), torch.inf).to(features)
    for table in keys.T:
        smallest = torch.full((len(features) + 1, k), torch.inf).to(features)
        for tiles in bucket_tiles(features, features, table, table, smallest=k + 1):
            itself = tiles.rows[:, :, None] == tiles.columns[:, None]
            found = torch.cat([smallest[tiles.rows], tiles.squared.masked_fill_(itself, torch.inf)], dim=2)
            smallest[tiles.rows] = found.topk(k, dim=2, largest=False).values
        torch.minimum(radii, smallest[:-1].amax(dim=1), out=radii)
    between_unequal = radii[radii.isfinite() & (radii > 0)]  # duplicates do not tell how near neighbours are
    without = radii.isinf()
    if len(between_unequal):
        radii = radii.clamp(max=settings.longest_radius**2 * float(between_unequal.median()))
    return radii.masked_fill(without, -1.0)


class _Side:
    """Results for the samples of one set; the last row stands for missing samples."""

    def __init__(self, radii: Float[Tensor, " n"]) -> None:
        self.radii = torch.cat([radii, radii.new_full((1,), -1.0)])
        self._balls = torch.zeros(len(self.radii), dtype=torch.long, device=radii.device)
        self._best = torch.zeros_like(self.radii)

    def add(
        self,
        samples: Int64[Tensor, "t p"],
        others: Int64[Tensor, "t q"],
        squared: Float[Tensor, "t p q"],
        radii: Float[Tensor, " m"],
    ) -> None:
        """Count which balls of `others`, of squared `radii`, hold `samples`, by distances."""
        reach = radii[others][:, None]
        self._balls.index_add_(0, samples.flatten(), (squared <= reach).sum(dim=2).flatten())
        tiny = torch.finfo(squared.dtype).tiny
        nearness = (reach + tiny) / (reach + tiny + squared)  # 1 at a centre, also where the radius is 0
        best = nearness.masked_fill_(reach < 0, 0.0).amax(dim=2)
        self._best.scatter_reduce_(0, samples.flatten(), best.flatten(), "amax")

    def scores(self, neighbours: int) -> BallScores:
        balls, best = (found[:-1].numpy(force=True) for found in (self._balls, self._best.double()))
        near, far = np.sqrt(best), np.sqrt(1 - best)
        return BallScores(inside=balls > 0, balls=balls / neighbours, scores=near / (near + far))


def _of(keys: Int64[Tensor, " n"], samples: Int64[Tensor, "t p"]) -> Int64[Tensor, "t p"]:
    """Return the keys of samples, some of which are missing."""
    return keys[samples.clamp(max=len(keys) - 1)]
