"""Checks the input of metrics: a matrix of finite numbers, as a torch tensor or an array."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from torch import Tensor

from ganpress.errors import DataError

Floats = NDArray[np.floating[Any]]
Float64 = NDArray[np.float64]
Matrix = Floats | Tensor
"""Features (N, F) or probabilities (N, K)."""
BLOCK = 1024
"""Rows that are looked through at a time."""


def as_matrix(values: Matrix, name: str, min_rows: int = 1) -> Shaped[Floats, "n f"]:
    """Return `values` as an array of its own precision, without a copy.

    Metrics cast to float64 piece by piece, so that a large set is not held a second time.

    Raises:
        DataError: if it is not two-dimensional, has fewer than `min_rows` rows, or holds NaN or infinity.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # which has no bfloat16
    matrix: Floats = np.asarray(values)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise DataError(f"{name} must be a matrix (samples, columns), found shape {matrix.shape}")
    if len(matrix) < min_rows:
        raise DataError(f"{name}: found {len(matrix)} samples, at least {min_rows} are needed; give more images")
    blocks = range(0, len(matrix), BLOCK)  # a table of truth values as large as the matrix would be held otherwise
    bad = sum(int((~np.isfinite(matrix[start : start + BLOCK]).all(axis=1)).sum()) for start in blocks)
    if bad:
        raise DataError(f"{name} hold NaN or infinity in {bad} of {len(matrix)} samples; the network has diverged")
    return matrix


def as_tensor(features: Matrix, name: str, min_rows: int = 1) -> Float[Tensor, "n f"]:
    """Return features as a float32 or float64 tensor where they are, or on the processor if that has no float64.

    What torch can read as it is, is not copied.

    Raises:
        DataError: if they are not two-dimensional, fewer than `min_rows`, or hold NaN or infinity.
    """
    if isinstance(features, Tensor) and features.device.type not in ("cpu", "mps"):
        sound = features.ndim == 2 and features.shape[1] > 0 and len(features) >= min_rows
        if sound and bool(torch.isfinite(features).all()):
            return features.detach() if features.dtype == torch.float64 else features.detach().float()
    matrix = as_matrix(features, name, min_rows)
    precision = np.float64 if matrix.dtype == np.float64 else np.float32
    shared = matrix.dtype.isnative and matrix.flags.writeable and min(matrix.strides) >= 0
    return torch.from_numpy(np.array(matrix, precision, copy=None if shared else True))


def same_columns(first: Floats | Tensor, second: Floats | Tensor) -> None:
    """Check that two sets of features came out of the same network.

    Raises:
        DataError: if their numbers of columns differ.
    """
    if first.shape[1] != second.shape[1]:
        found = f"{first.shape[1]} and {second.shape[1]}"
        raise DataError(f"the two sets have {found} features; score both with the same judge")
