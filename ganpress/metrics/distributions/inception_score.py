"""Inception Score: do images look like one class each, and are all classes there (Salimans et al. 2016)."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import xlogy

from ganpress.basics.seeding import numpy_generator
from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64, Matrix, as_matrix


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
    scores = [_score(table[order[start:stop]]) for start, stop in pairwise(bounds)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(table: Float64) -> float:
    marginal = table.mean(axis=0)  # (K,)
    # A class that never occurs has p(y|x) = 0 in every row, and 0 log 0 = 0 on both sides.
    divergence = (xlogy(table, table) - xlogy(table, np.where(marginal > 0, marginal, 1.0))).sum(axis=1)
    return float(np.exp(divergence.mean()))


def _as_probabilities(probabilities: Matrix, splits: int) -> Float64:
    table = as_matrix(probabilities, "the class probabilities").astype(np.float64, copy=False)
    if len(table) < splits:
        raise DataError(f"{len(table)} images cannot fill {splits} splits; use fewer splits or more images")
    if table.min() < 0 or not np.allclose(table.sum(axis=1), 1.0, atol=1e-4):
        raise DataError(
            f"class probabilities must lie in [0, 1] and sum to 1 in each row, found rows between "
            f"{table.sum(axis=1).min():.4g} and {table.sum(axis=1).max():.4g}; apply softmax to logits first"
        )
    return table
