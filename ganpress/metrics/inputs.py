"""What every metric accepts: a matrix of finite numbers, as a torch tensor or an array."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganpress.errors import DataError

Float64 = NDArray[np.float64]
Matrix = NDArray[np.floating] | Tensor
"""Features (N, F) or probabilities (N, K)."""


def as_matrix(values: Matrix, name: str, min_rows: int = 1) -> Float64:
    """Return `values` as a float64 matrix (N, F); a copy only where the type differs.

    Raises:
        DataError: if it is not two-dimensional, has fewer than `min_rows` rows, or holds NaN or infinity.
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"{name} must be a matrix (samples, columns), found shape {array.shape}")
    if len(array) < min_rows:
        raise DataError(f"{name} has {len(array)} samples, at least {min_rows} are needed; give it more images")
    matrix: Float64 = array.astype(np.float64, copy=False)
    bad = int((~np.isfinite(matrix).all(axis=1)).sum())
    if bad:
        raise DataError(f"{name} holds NaN or infinity in {bad} of {len(array)} samples; the network has diverged")
    return matrix


def same_columns(first: Float64, second: Float64) -> None:
    """Check that two sets of features came out of the same network.

    Raises:
        DataError: if their numbers of columns differ.
    """
    if first.shape[1] != second.shape[1]:
        found = f"{first.shape[1]} and {second.shape[1]}"
        raise DataError(f"the two sets have {found} features; score both with the same judge")
