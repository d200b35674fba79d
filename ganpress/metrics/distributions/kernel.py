"""Kernel distance between two sets of features (KID; Binkowski et al. 2018): unbiased where FID is not."""

import numpy as np
from jaxtyping import Float

from ganpress.basics.seeding import numpy_generator
from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64, Floats, Matrix, as_matrix, same_columns


def kernel_distance(reference: Matrix, generated: Matrix, subsets: int, subset_size: int, seed: int) -> float:
    """Return the mean over subsets of the unbiased MMD^2 with k(x, y) = (x . y / F + 1)^3.

    The kernel is not scale-invariant and was made for Inception features. Here both sets are divided by one number
    fixed on the reference, so that its mean squared norm is F, and features of any judge give values of one scale.

    Args:
        reference: Features (N, F) of real images.
        generated: Features (M, F).
        subsets: Number of pairs of subsets; no fewer are taken than there are disjoint ones.
        subset_size: Samples in each subset, at most min(N, M).
        seed: Seed of the subsets.

    Raises:
        DataError: if a set is smaller than a subset, holds NaN, or the reference features are all zero.
    """
    values = _distances(reference, generated, subsets, subset_size, seed)
    blocks = min(len(reference), len(generated)) // subset_size
    return float(np.mean(values[: max(subsets, blocks)]))


def _distances(reference: Matrix, generated: Matrix, subsets: int, subset_size: int, seed: int) -> list[float]:
    """At least `subsets` distances: those of whole permutations, of which the first ones are of disjoint subsets."""
    real, fake = as_matrix(reference, "the reference features", 2), as_matrix(generated, "the generated features", 2)
    same_columns(real, fake)
    available = min(len(real), len(fake))
    if not 2 <= subset_size <= available:
        raise DataError(
            f"kid_subset_size must lie between 2 and the smaller set's {available} images ({len(real)} real, "
            f"{len(fake)} generated), found {subset_size}"
        )
    scale = reference_scale(real)
    generator = numpy_generator(seed, "kernel-distance", "subsets")
    values: list[float] = []
    blocks = available // subset_size
    while len(values) < subsets:  # each permutation gives `blocks` disjoint pairs of subsets
        orders = generator.permutation(len(real)), generator.permutation(len(fake))
        for block in range(blocks):
            one, other = (order[block * subset_size : (block + 1) * subset_size] for order in orders)
            values.append(_squared_discrepancy(real[one] / np.float64(scale), fake[other] / np.float64(scale)))
    return values


def reference_scale(real: Float[Floats, "n f"]) -> float:
    """Return the number by which features are divided: the reference's mean squared norm becomes F."""
    scale = float(np.sqrt(np.einsum("nf,nf->", real, real, dtype=np.float64) / real.size))
    if scale == 0:
        raise DataError("the reference features are all zero; the judge does not see these images")
    return scale


def _squared_discrepancy(x: Float[Float64, "n f"], y: Float[Float64, "m f"]) -> float:
    """Unbiased MMD^2 of two sets of n rows (Gretton et al. 2012, eq. 3)."""
    n = len(x)
    within_x, within_y, between = polynomial_kernel(x, x), polynomial_kernel(y, y), polynomial_kernel(x, y)
    pairs = within_x.sum() - np.trace(within_x) + within_y.sum() - np.trace(within_y)
    return float(pairs / (n * (n - 1)) - 2 * between.mean())


def polynomial_kernel(x: Float[Float64, "n f"], y: Float[Float64, "m f"]) -> Float[Float64, "n m"]:
    """Return (x . y / F + 1)^3 of each row of x with each of y."""
    values: Float64 = (x @ y.T / x.shape[1] + 1.0) ** 3
    return values
