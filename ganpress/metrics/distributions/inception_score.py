"""Inception Score: do images look like one class each, and are all classes there (Salimans et al. 2016)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from scipy.special import xlogy

from ganpress.basics.seeding import numpy_generator
from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64, Floats, Matrix, as_matrix

NUMBERS = 2**24
"""Probabilities in float64 that are worked on at a time: 128 MiB, 16,000 rows of 1,008 classes."""


@dataclass(frozen=True)
class InceptionScore:
    """Mean and population standard deviation over the splits; each lies in [1, number of classes]."""

    mean: float
    split_std: float


def inception_score(probabilities: Matrix, splits: int, seed: int) -> InceptionScore:
    """Return exp(E_x KL(p(y|x) || p(y))), averaged over shuffled splits.

    The score grows with the samples in a split, so compare only scores of the same N and the same number of splits.

    Args:
        probabilities: Class probabilities (N, K), rows sum to 1.
        splits: Number of equal parts that are scored on their own.
        seed: Seed of the shuffle.

    Raises:
        DataError: if rows are no probabilities, or there are fewer samples than splits.
    """
    table = _as_probabilities(probabilities, max(splits, 1))
    order = numpy_generator(seed, "inception-score", "splits").permutation(len(table))
    bounds = [len(table) * split // splits for split in range(splits + 1)]
    scores = [_score(table, order[start:stop]) for start, stop in pairwise(bounds)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(table: Float[Floats, "n k"], rows: Int64[NDArray[np.int64], " rows"]) -> float:
    """Score some rows of the table, at most `NUMBERS` of its numbers at a time."""
    parts = [(part, len(part)) for part in np.array_split(rows, -(-rows.size * table.shape[1] // NUMBERS))]
    marginal = _weighted_mean([(_taken(table, part).mean(axis=0), count) for part, count in parts])
    # A class that never occurs has p(y|x) = 0 in every row, and 0 log 0 = 0 on both sides.
    reached = np.where(marginal > 0, marginal, 1.0)
    divergences = [(_divergence(_taken(table, part), reached).mean(), count) for part, count in parts]
    return float(np.exp(_weighted_mean(divergences)))


def _taken(table: Float[Floats, "n k"], rows: Int64[NDArray[np.int64], " rows"]) -> Float[Float64, "rows k"]:
    return table[rows].astype(np.float64, copy=False)


def _divergence(rows: Float[Float64, "n k"], reached: Float[Float64, " k"]) -> Float[Float64, " n"]:
    divergence: Float64 = (xlogy(rows, rows) - xlogy(rows, reached)).sum(axis=1)
    return divergence


def _weighted_mean(parts: list[tuple[Any, int]]) -> Any:
    """Mean of the means of parts; of one part its own to the last bit."""
    if len(parts) == 1:
        return parts[0][0]
    return sum(mean * count for mean, count in parts) / sum(count for _, count in parts)


def _as_probabilities(probabilities: Matrix, splits: int) -> Float[Floats, "n k"]:
    table = as_matrix(probabilities, "the class probabilities")
    if len(table) < splits:
        raise DataError(f"{len(table)} images cannot fill {splits} splits; use fewer splits or more images")
    sums = table.sum(axis=1, dtype=np.float64)
    if table.min() < 0 or not np.allclose(sums, 1.0, atol=1e-4):
        raise DataError(
            f"class probabilities must lie in [0, 1] and sum to 1 in each row, found rows between "
            f"{sums.min():.4g} and {sums.max():.4g}; apply softmax to logits first"
        )
    return table
