"""Precision and recall by locality-sensitive hashing alone: robust to outliers, and O(1) for each sample.

A sample's score is the share of hash tables in which its bucket holds samples of the other set. An outlier is alone in
its bucket and cannot raise another sample's score, while its k-NN ball would be the largest of all.

The idea is from Mordido et al. (2021), of which only the abstract was available; the definition is this project's own,
and values can be compared only with each other. It is a coarse test of density;
`ganpress.metrics.neighbours.hashed_nearest` also uses distances. Features may be of any domain; they are hashed on
their own device, in their own precision.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ganpress.basics.seeding import torch_generator
from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.neighbours.buckets import Occupancy, occupancy
from ganpress.metrics.neighbours.hashing import Features, HashFamily, enough, fit_family, fitted

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class LshSettings:
    """Settings of LSH-only scores."""

    tables: int = 32
    """Number of independent hash tables."""
    bits: int = 8
    """Number of hashes in a table's key."""
    mates: int = 2
    """Smallest number of samples of the other set in a bucket that counts as a hit."""
    hit_rate: float = 0.7
    """Hit rate of one half of the reference in tables of the other half, which determines the width."""
    calibration_tables: int = 4
    """Number of tables with which the width is found. With few tables, another seed changes all scores and ceilings by
    the same amount: by 0.018 with 4, by 0.005 with 32, which take more time. Relative scores change by 0.004 to 0.007
    in both cases.
    """


@dataclass(frozen=True)
class HashedReference:
    """The hash tables of a reference set, computed once for all generators; its features are not kept."""

    family: HashFamily
    keys: Tensor
    """(N, L)"""
    settings: LshSettings
    seed: int


@dataclass(frozen=True)
class LshScores:
    """Quality (precision) and diversity (recall) of a generated set, by single samples too."""

    precision: float
    """Mean of `generated_scores`, [0, 1]."""
    recall: float
    """Mean of `reference_scores`, [0, 1]."""
    precision_ceiling: float
    """Score of the reference itself: each of its samples in tables of the others."""
    recall_ceiling: float
    """The same score in tables of as many reference samples as there are generated ones, or of all if there are
    fewer.
    """
    generated_scores: Float64
    """(M,) share of tables in which the sample's bucket holds reference samples, [0, 1]."""
    reference_scores: Float64
    """(N,) share of tables in which the sample's bucket holds generated samples, [0, 1]."""
    width: float
    """Width of the hashes, in units of the features."""
    settings: LshSettings
    seed: int

    @property
    def relative_precision(self) -> float:
        """Precision as a share of its ceiling; about 1 for equal distributions, above it for a denser set."""
        return self.precision / self.precision_ceiling

    @property
    def relative_recall(self) -> float:
        """Recall as a share of its ceiling; about 1 for equal distributions."""
        return self.recall / self.recall_ceiling


def lsh_scores(reference: Features, generated: Features, seed: int, settings: LshSettings | None = None) -> LshScores:
    """Score generated features (M, F) against a reference (N, F) by hashes alone; M = N makes recall comparable.

    Raises:
        DataError: as `hash_reference` and `score_hashed`.
    """
    return score_hashed(hash_reference(reference, seed, settings), generated)


def hash_reference(reference: Features, seed: int, settings: LshSettings | None = None) -> HashedReference:
    """Fit the hash family on a reference (N, F) and put it into tables.

    Args:
        reference: Features, or batches of them, read once; 4 L b bytes per sample are kept meanwhile.
        seed: Seed of the family, and of the halves by which its width is found.
        settings: Number of tables and the rest.

    Raises:
        DataError: if there are too few samples, all are equal, or they hold NaN.
    """
    settings = settings or LshSettings()
    family, projections = fit_family(reference, settings.tables, settings.bits, seed)
    enough(len(projections), 2 * settings.mates, "the reference features")
    some = family.first(settings.calibration_tables)
    few = projections[:, : some.vectors.shape[1]]
    order = torch.randperm(len(few), generator=torch_generator(seed, "locality-hashing", "halves")).to(few.device)

    def hit_rate(candidate: HashFamily) -> float:
        keys = candidate.keys(few)[order]
        one, other = keys[: len(keys) // 2], keys[len(keys) // 2 :]
        shared = [occupancy(one[:, table], other[:, table]) for table in range(keys.shape[1])]
        hits = [_hits(table, settings.mates) for table in shared]
        return float(np.mean([float(side.double().mean()) for pair in hits for side in pair]))

    width = fitted(some, few, hit_rate, settings.hit_rate).width
    family = replace(family, width=width)
    return HashedReference(family, family.keys(projections), settings, seed)


def score_hashed(reference: HashedReference, generated: Features) -> LshScores:
    """Score generated features (M, F), or batches of them, against a hashed reference.

    Raises:
        DataError: if there are too few samples, they hold NaN, or their number of features is not the reference's.
    """
    settings = reference.settings
    keys = reference.family.hash(generated, "the generated features")
    enough(len(keys), settings.mates, "the generated features")
    fake, real = _Tally(len(keys)), _Tally(len(reference.keys))
    sizes = _Sizes()
    for one, other in zip(reference.keys.T, keys.T, strict=True):  # one at a time: each is large
        table = occupancy(one, other)
        for tally, hits in zip((fake, real), _hits(table, settings.mates), strict=True):
            tally.add(hits)
        sizes.add(table)
    generated_scores, reference_scores = fake.shares(), real.shares()
    others, available = sizes.others(), len(reference.keys) - 1
    return LshScores(
        precision=float(generated_scores.mean()),
        recall=float(reference_scores.mean()),
        precision_ceiling=_expected_hits(*others, available, available, settings.mates),
        recall_ceiling=_expected_hits(*others, available, min(len(keys), available), settings.mates),
        generated_scores=generated_scores,
        reference_scores=reference_scores,
        width=reference.family.width,
        settings=settings,
        seed=reference.seed,
    )


def _hits(table: Occupancy, mates: int) -> tuple[Bool[Tensor, " m"], Bool[Tensor, " n"]]:
    """Return which generated and which reference samples share a bucket with enough samples of the other set."""
    return (
        (table.reference_counts >= mates)[table.generated_places],
        (table.generated_counts >= mates)[table.reference_places],
    )


class _Tally:
    """Number of tables in which each sample (N,) is a hit."""

    def __init__(self, samples: int) -> None:
        self._counts: Counts = np.zeros(samples, np.int64)
        self._tables = 0

    def add(self, hits: Bool[Tensor, " n"]) -> None:
        """Count one table's hits."""
        self._counts += hits.numpy(force=True)
        self._tables += 1

    def shares(self) -> Float[Float64, " n"]:
        """Share of the tables."""
        shares: Float64 = self._counts / np.float64(self._tables)
        return shares


class _Sizes:
    """Distribution, over all tables, of the number of other reference samples in a sample's bucket."""

    def __init__(self) -> None:
        self._samples: Counter[int] = Counter()

    def add(self, table: Occupancy) -> None:
        """Count one table: a bucket of n samples holds n - 1 others for each of them."""
        counts = table.reference_counts
        sizes, buckets = torch.unique(counts[counts > 0], return_counts=True)
        for size, number in zip(sizes.tolist(), buckets.tolist(), strict=True):
            self._samples[size - 1] += size * number

    def others(self) -> tuple[Int64[Counts, " sizes"], Int64[Counts, " sizes"]]:
        """Numbers of others, ascending, and how many samples have each."""
        ordered = sorted(self._samples.items())
        return np.array([size for size, _ in ordered]), np.array([number for _, number in ordered])


def _expected_hits(
    sizes: Int64[Counts, " sizes"], samples: Int64[Counts, " sizes"], available: int, drawn: int, mates: int
) -> float:
    """Return the mean probability that at least `mates` of the other samples in a bucket are among those drawn.

    `samples` have `sizes` others in their bucket; `drawn` of the `available` samples are drawn.
    """
    chances = 1 - sum(_chance(number, sizes, available, drawn) for number in range(mates))
    return float((chances * samples).sum() / samples.sum())


def _chance(number: int, sizes: Int64[Counts, " sizes"], available: int, drawn: int) -> Float[Float64, " sizes"]:
    """Return the probability that exactly `number` of each of `sizes` samples are drawn, by the hypergeometric
    distribution.

    `scipy.stats` has it too, but importing that takes longer than scoring.
    """
    possible = (number <= sizes) & (drawn - number <= available - sizes) & (number <= drawn)
    some = sizes[possible].astype(np.float64)
    chances = np.zeros(len(sizes))
    chances[possible] = np.exp(
        _log_choose(some, number) + _log_choose(available - some, drawn - number) - _log_choose(available, drawn)
    )
    return chances


def _log_choose(total: ArrayLike, chosen: int) -> Float64:
    from scipy.special import gammaln

    numbers = np.asarray(total, dtype=np.float64)
    logarithm: Float64 = np.asarray(gammaln(numbers + 1) - gammaln(chosen + 1) - gammaln(numbers - chosen + 1))
    return logarithm
