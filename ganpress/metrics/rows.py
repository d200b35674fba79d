"""Rows collected from a stream of batches."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Rows:
    """Rows collected in one array that doubles when it is full.

    A list of small arrays would lie between the activations of the batches and keep their memory from being given back.
    """

    def __init__(self) -> None:
        self._array: NDArray[Any] = np.empty((0, 0))
        self._count = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Copy `rows` (n, F) behind those that are there."""
        needed = self._count + len(rows)
        if needed > len(self._array):
            grown = np.empty((max(needed, 2 * len(self._array)), rows.shape[1]), rows.dtype)
            if self._count:
                grown[: self._count] = self.all()
            self._array = grown
        self._array[self._count : needed] = rows
        self._count = needed

    def all(self) -> NDArray[Any]:
        """All rows (N, F)."""
        return self._array[: self._count]
