"""Seeded, stratified choice of images that depends only on their names.

Images are ordered by a hash of seed and name. So the choice is the same with every version of numpy, and adding or
removing an image does not move the others, up to rounding.
"""

import numpy as np
from numpy.typing import NDArray

from ganpress.basics.seeding import derived_seed


def rank(seed: int, purpose: str, name: str) -> int:
    """Return the place of image `name` in the seeded order for one purpose: a 63-bit number without a pattern."""
    return derived_seed(seed, purpose, name)


def first_of_each_class(ranks: NDArray[np.int64], labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Mark `count` images (at most all): from each class its share, choosing those of lowest rank.

    Shares are rounded by largest remainder, so they sum to `count` exactly.

    Args:
        ranks: (N,), from `rank`.
        labels: (N,); a single value for all images if unlabelled.
        count: how many to mark.
    """
    marked = np.zeros(len(ranks), np.bool_)
    if len(ranks) == 0:
        return marked
    classes, sizes = np.unique(labels, return_counts=True)
    for one, quota in zip(classes, _quotas(sizes, min(count, len(ranks))), strict=True):
        members = np.flatnonzero(labels == one)
        marked[members[np.argsort(ranks[members], kind="stable")[:quota]]] = True
    return marked


def _quotas(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Divide `count` in proportion to `sizes` by largest remainder; none gets more than its size."""
    shares = sizes * count / sizes.sum()
    quotas: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    missing = count - int(quotas.sum())
    quotas[np.argsort(quotas - shares, kind="stable")[:missing]] += 1
    return quotas
