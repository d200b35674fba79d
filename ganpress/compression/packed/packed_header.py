"""The header of a packed model file: what it says of its tensors, checked before any is decoded."""

import math
from dataclasses import dataclass

import numpy as np

from ganpress.errors import shown
from ganpress.files.frames import decode_frame
from ganpress.files.plain_values import fit, parse_json

LARGEST_HEADER_BYTES = 16 * 2**20
DTYPES = frozenset({"float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"})
MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Entry:
    """How one tensor is stored."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """Of numpy: `float32`, `int8`, `uint8`, `int64`."""
    bits: int | None
    """Of each code where they are packed, else None."""
    entropy_coded: bool
    length: int
    """Bytes in the file."""

    @property
    def plain_bytes(self) -> int:
        """Bytes of the decoded tensor."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def packed_bytes(self) -> int:
        """Bytes of the codes alone where they are packed."""
        return math.ceil(math.prod(self.shape) * (self.bits or 0) / 8)

    def check(self) -> None:
        """Refuse fields that no packed tensor has.

        Raises:
            ValueError: naming the tensor.
        """
        wrong = (
            self.dtype not in DTYPES
            or len(self.shape) > MOST_DIMENSIONS
            or any(not 0 <= size < 2**31 for size in self.shape)
            or (self.bits is not None and (not 2 <= self.bits <= 8 or self.dtype != "int8" or not self.shape))
            or self.length < 0
        )
        if wrong:
            raise ValueError(f"its header describes '{shown(self.name)}' by values that no tensor has")


def read_header(content: bytes, place: int) -> tuple[object, object, list[Entry], int]:
    """Read what stands before the tensors of a packed file; every number in it is within bounds.

    Args:
        content: the file without its digest.
        place: where the length of the header stands.

    Returns:
        builder, arguments, entries, and where the tensors begin.

    Raises:
        ValueError: if a field is missing or wrong.
    """
    start = place + 4
    end = start + int.from_bytes(content[place:start], "little")
    described = parse_json(decode_frame(content[start:end], LARGEST_HEADER_BYTES))
    if not isinstance(described, dict) or not isinstance(described.get("blueprint"), dict):
        raise ValueError("its header has no blueprint")
    rows = fit(described.get("tensors"), list[tuple[str, tuple[int, ...], str, int | None, bool, int]], "'tensors'")
    entries = [Entry(*row) for row in rows]
    for entry in entries:
        entry.check()
    if len({entry.name for entry in entries}) < len(entries):
        raise ValueError("its header names a tensor twice")
    if end + sum(entry.length for entry in entries) != len(content):
        raise ValueError("its tensors are not as long as its header says")
    return described["blueprint"].get("builder"), described["blueprint"].get("arguments"), entries, end
