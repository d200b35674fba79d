"""First-order contributions of samples to a distance of two sets, which give its error without resampling."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Float64


@dataclass(frozen=True)
class DistanceTerms:
    """First-order terms of a distance: what one more sample like this one would add, times their number.

    The error of the distance is that of a mean of these terms: the infinitesimal jackknife (Jaeckel 1972).
    """

    reference: Float64
    """(n,) of mean 0, of all N reference samples or of some that were drawn by seed."""
    generated: Float64
    """(m,) of mean 0; the largest are the samples that raise the distance most."""
    sizes: tuple[int, int]
    """N and M, the samples that the distance was taken over."""

    @property
    def variance(self) -> float:
        """Of the distance, over draws of both sets."""
        sides = zip((self.reference, self.generated), self.sizes, strict=True)
        return float(sum(terms.var(ddof=1) / size for terms, size in sides))

    @property
    def standard_error(self) -> float:
        """Of the distance, over draws of both sets."""
        return float(np.sqrt(self.variance))

    def less(self, other: Self) -> Self:
        """Return the terms of this distance less another's from the same reference.

        Sample i of both generated sets belongs to one input, so that what the two have in common cancels; where inputs
        were drawn apart, that does no harm.

        Raises:
            DataError: if the sets are not of one size.
        """
        for mine, theirs in zip(self.sizes, other.sizes, strict=True):
            if mine != theirs:
                raise DataError(f"distances of {mine} and {theirs} samples do not compare; draw equal numbers")
        return replace(self, reference=self.reference - other.reference, generated=self.generated - other.generated)
