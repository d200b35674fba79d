"""Reads packed model files of the format before safetensors, which is no longer written.

    b"GANPACK2" | length of the header, 4 bytes | header | tensors, one after the other | sha256 of all before

The header is compressed JSON with the blueprint, and name, shape and coding of each tensor. It is checked before any
tensor is decoded. Weights of b bits are stored in the shorter of two forms: b bits each, or a Zstandard frame.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganpress.compression.packed.codes import unpack_codes
from ganpress.errors import shown
from ganpress.files.frames import decode_frame, largest_content
from ganpress.files.plain_values import fit, parse_json
from ganpress.files.tensor_files import LARGEST_HEADER_BYTES, MOST_DIMENSIONS

MAGIC = b"GANPACK2"
DIGEST_BYTES = 32
DTYPES = frozenset({"float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"})


@dataclass(frozen=True)
class Entry:
    """Storage of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """NumPy's name of the number type: `float32`, `int8`, `uint8`, `int64`."""
    bits: int | None
    """Bits of each packed value; None if values are not packed."""
    entropy_coded: bool
    length: int
    """Number of bytes in the file."""

    @property
    def plain_bytes(self) -> int:
        """Number of bytes of the decoded tensor."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def check(self) -> None:
        """Refuse fields that are not valid for a packed tensor.

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


def read_ganpack2(whole: bytes) -> tuple[object, object, dict[str, Tensor]]:
    """Read builder, arguments and tensors by name.

    Raises:
        ValueError: if the file is truncated, changed, or its content is larger than `largest_content` allows.
    """
    content = whole[:-DIGEST_BYTES]
    if hashlib.sha256(content).digest() != whole[-DIGEST_BYTES:]:
        raise ValueError("it is truncated or was changed: its digest does not fit")
    builder, arguments, entries, start = _header(content)
    largest, total = largest_content(len(content)), sum(entry.plain_bytes for entry in entries)
    if total > largest:
        raise ValueError(f"it decodes to {total:,} bytes, {largest:,} are allowed for a file of this size")
    state = {}
    for entry in entries:
        state[entry.name] = _decode(entry, content[start : start + entry.length])
        start += entry.length
    return builder, arguments, state


def _header(content: bytes) -> tuple[object, object, list[Entry], int]:
    """Read builder, arguments, entries, and the offset of the tensors; all numbers are checked."""
    start = len(MAGIC) + 4
    end = start + int.from_bytes(content[len(MAGIC) : start], "little")
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


def _decode(entry: Entry, content: bytes) -> Tensor:
    if entry.bits is not None and not entry.entropy_coded:
        return unpack_codes(content, entry.bits, entry.shape, shown(entry.name))
    plain = decode_frame(content, entry.plain_bytes) if entry.entropy_coded else content
    if len(plain) != entry.plain_bytes:
        raise ValueError(f"'{shown(entry.name)}' has {len(plain):,} bytes, its shape needs {entry.plain_bytes:,}")
    values = np.frombuffer(plain, entry.dtype).reshape(entry.shape)
    return torch.from_numpy(values.copy())
