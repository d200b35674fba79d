"""Packs integers of b bits; NumPy packs only single bits, and no library packs integers of 3 or 5 bits."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int8
from torch import Tensor

from ganpress.errors import ConfigError


def pack_codes(codes: Int8[Tensor, "o ..."], bits: int) -> bytes:
    """Write codes with `bits` bits each, most significant first, padded with zeros to whole bytes.

    They are preceded by the smallest code of each output channel, one byte each, unless all codes are symmetric.

    Args:
        codes: int8, at most 2^bits - 1 from the smallest to the largest of an output channel.
        bits: 2 to 8.

    Raises:
        ConfigError: if a code does not fit.
    """
    if not codes.numel():
        return b""
    values = codes.numpy().astype(np.int16).reshape(len(codes), -1)
    lowest = np.full(len(values), -(2 ** (bits - 1) - 1), np.int16)
    offsets = b""
    if not is_symmetric(codes, bits):
        lowest = values.min(1)
        offsets = lowest.astype(np.int8).tobytes()
    steps = values - lowest[:, None]
    if steps.max() > 2**bits - 1:
        raise ConfigError(
            f"codes of {bits} bits have {2**bits} levels in a channel, found {values.min()} … {values.max()}"
        )
    shifts = np.arange(bits - 1, -1, -1, dtype=np.int16)
    return offsets + np.packbits((steps.reshape(-1)[:, None] >> shifts) & 1).tobytes()


def unpack_codes(content: bytes, bits: int, shape: Sequence[int], name: str = "codes") -> Int8[Tensor, "..."]:
    """Read the output of `pack_codes` as int8 of the given shape.

    Raises:
        ValueError: if the number of bytes does not match the number of codes.
    """
    count = math.prod(shape)
    length = math.ceil(count * bits / 8)
    if len(content) - length not in (0, shape[0] if shape else 0):
        raise ValueError(f"'{name}' does not have the bytes of its codes")
    lowest = np.frombuffer(content[:-length], np.int8).astype(np.int16) if count else np.zeros(0, np.int16)
    if not lowest.size:
        lowest = np.full(shape[0], -(2 ** (bits - 1) - 1), np.int16)
    packed_bits = np.frombuffer(content, np.uint8)[-length or None :]
    spread = np.unpackbits(packed_bits, count=count * bits).reshape(count, bits)
    steps = spread.astype(np.int16) @ (1 << np.arange(bits - 1, -1, -1)).astype(np.int16)
    values = steps.reshape(shape[0], -1) + lowest[:, None] if count else steps
    return torch.from_numpy(values.astype(np.int8)).reshape(tuple(shape))


def is_symmetric(codes: Int8[Tensor, "o ..."], bits: int) -> bool:
    """Whether int8 codes are within -(2^(bits-1) - 1) … 2^(bits-1) - 1."""
    return not codes.numel() or int(codes.to(torch.int16).abs().max()) <= 2 ** (bits - 1) - 1
