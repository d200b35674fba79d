"""Terms of a kernel distance (KID), from which its error and that of a difference follow.

The unbiased MMD^2 is the mean of h(i, j) = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i) over pairs: a
U-statistic of variance 4 z1 / N + 2 z2 / N^2, with z1 the variance of the mean of h over one index and z2 that of
what is left of h (Hoeffding 1948; Sutherland et al. 2017, appendix A). Where both sets are of one distribution z1
vanishes. A mean over subsets, which leaves most pairs out, owes more to z2.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Float

from ganpress.basics.seeding import numpy_generator
from ganpress.metrics.distributions.first_order import DistanceTerms
from ganpress.metrics.distributions.kernel import polynomial_kernel, reference_scale
from ganpress.metrics.feature_inputs import Float64, Matrix, as_matrix, same_columns

MOST_ROWS = 2000
"""Samples of each set whose terms are computed; their variance is that of all, and the time grows with the square."""
PAIRS = 32
"""Pairs (i, i + 1) to (i, i + PAIRS) that stand for all pairs of sample i."""


@dataclass(frozen=True)
class KernelTerms(DistanceTerms):
    """Terms of a mean of unbiased MMD^2 over subsets."""

    pairs: Float64
    """(n, PAIRS) values of h."""
    subset_size: int
    permutations: float
    """Number of times that every sample is in a subset, at least 1."""

    @property
    def variance(self) -> float:
        """Variance of the distance over draws of both sets and of the subsets."""
        rows, (real, fake) = len(self.reference), self.sizes
        of_rows = (self.reference.var(ddof=1) + self.generated.var(ddof=1)) / 4
        left = max(float(self.pairs.var() - 2 * of_rows) / (1 - 2 / rows), 0.0)  # z2
        whole, of_subsets = 1 / (real * fake), 1 / (self.subset_size * min(real, fake))
        second = 2 * left * (whole + (of_subsets - whole) / self.permutations)
        # Means over n samples have a part of z2 in them, which is not of the first order.
        first = super().variance - 4 * left / (rows * np.sqrt(real * fake))
        return float(max(first, 0.0) + second)

    def less(self, other: Self) -> Self:
        """Return the terms of this distance less another's; as `DistanceTerms.less`."""
        return replace(super().less(other), pairs=self.pairs - other.pairs)


def kernel_terms(reference: Matrix, generated: Matrix, subsets: int, subset_size: int, seed: int) -> KernelTerms:
    """Return the terms of `kernel_distance` of features (N, F) and (M, F), called with the same numbers.

    Raises:
        DataError: if a set has fewer than 2 samples, holds NaN, or the numbers of features differ.
    """
    real, fake = as_matrix(reference, "the reference features", 2), as_matrix(generated, "the generated features", 2)
    same_columns(real, fake)
    scale, sizes = np.float64(reference_scale(real)), (len(real), len(fake))
    count = min(*sizes, MOST_ROWS)
    generator = numpy_generator(seed, "kernel-distance", "terms")
    x, y = (side[np.sort(generator.permutation(len(side))[:count])] / scale for side in (real, fake))
    within_x, within_y, between = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    of_real = 2 * (_others(within_x) - between.mean(axis=1))
    of_fake = 2 * (_others(within_y) - between.mean(axis=0))
    rows = np.arange(count)[:, None]
    mates = (rows + 1 + np.arange(min(PAIRS, count - 1))) % count
    pairs = within_x[rows, mates] + within_y[rows, mates] - between[rows, mates] - between[mates, rows]
    blocks = min(sizes) // subset_size
    return KernelTerms(
        of_real - of_real.mean(), of_fake - of_fake.mean(), sizes, pairs, subset_size, max(subsets / blocks, 1.0)
    )


def _others(kernel: Float[Float64, "n n"]) -> Float[Float64, " n"]:
    """Means over the other samples."""
    means: Float64 = (kernel.sum(axis=1) - np.diagonal(kernel)) / (len(kernel) - 1)
    return means
