"""Rows collected from a stream of batches: in memory while they are few, in a file once they are many."""

import tempfile
from typing import IO, Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

MOST_BYTES = 2**28
"""Largest size of rows in memory, 256 MiB (features of 32,768 images with 2048 float32 values); more are kept in a
file.
"""
READ_ROWS = 4096
"""Rows of many that are worked on at a time."""


class Rows:
    """Rows collected in one array that doubles when it is full.

    A list of small arrays would lie between the activations of the batches and keep their memory from being given back.
    Beyond `most_bytes` the rows lie in a file without a name in the folder for temporary files (TMPDIR), and what is
    read of it is the system's cache: it can be taken back at any time. The values are the same in both places.

    Args:
        most_bytes: rows of more bytes lie in a file; None: `MOST_BYTES`.
    """

    def __init__(self, most_bytes: int | None = None) -> None:
        self._array: NDArray[Any] = np.empty((0, 0))
        self._count, self._most_bytes = 0, MOST_BYTES if most_bytes is None else most_bytes
        self._file: IO[bytes] | None = None

    def append(self, rows: Shaped[NDArray[Any], "n f"]) -> None:
        """Copy `rows` behind those that are there."""
        needed = self._count + len(rows)
        if self._file is None and needed * rows[:1].nbytes > self._most_bytes:
            self._move_to_file(rows)
        if self._file is not None:
            self._file.write(np.ascontiguousarray(rows, self._array.dtype).tobytes())
        else:
            self._keep(rows, needed)
        self._count = needed

    def all(self) -> Shaped[NDArray[Any], "n f"]:
        """All rows; writable, and what is written stays with the caller where they lie in a file."""
        if self._file is None:
            return self._array[: self._count]
        self._file.flush()
        return np.asarray(np.memmap(self._file, self._array.dtype, "c", shape=(self._count, self._array.shape[1])))

    def _keep(self, rows: Shaped[NDArray[Any], "n f"], needed: int) -> None:
        if needed > len(self._array):
            grown = np.empty((max(needed, 2 * len(self._array)), rows.shape[1]), rows.dtype)
            if self._count:
                grown[: self._count] = self._array[: self._count]
            self._array = grown
        self._array[self._count : needed] = rows

    def _move_to_file(self, rows: Shaped[NDArray[Any], "n f"]) -> None:
        held = self._array[: self._count] if self._count else rows[:0]
        self._file = tempfile.TemporaryFile(prefix="ganpress-rows-")  # noqa: SIM115 (it lives as long as the rows)
        self._file.write(held.tobytes())
        self._array = held[:0].copy()
