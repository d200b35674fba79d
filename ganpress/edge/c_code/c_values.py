"""What a program of C has computed: maps of codes, whose reals are known, or of floats."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ganpress.edge.c_code.c_program import Buffer, Program
from ganpress.edge.graphs.form_operands import NoForm

Shape = tuple[int, int, int]
"""Channels, height, width; a vector has single pixels."""


@dataclass(frozen=True)
class Values:
    """One map."""

    buffer: Buffer
    shape: Shape
    rank: int
    """2 for vectors (N, F), 4 for maps (N, C, H, W): how torch sees them."""
    reals: Tensor | None = None
    """What codes stand for, float32 (C, number of codes); None of floats."""
    scales: Tensor | None = None
    """Of codes as a layer puts them out, float32 (C,): real = scale * (code - zero); None of others."""
    zeros: Tensor | None = None
    """The zero points then, uint8 (C,)."""

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def pixels(self) -> int:
        """Pixels of a channel."""
        return self.shape[1] * self.shape[2]

    @property
    def size(self) -> int:
        """Bytes of a value."""
        return self.buffer.size

    def elsewhere(self, shape: Shape, rank: int | None = None, **changes: Any) -> "Values":
        """Values of the same kind in a buffer of their own."""
        buffer = Buffer(int(np.prod(shape)), self.size)
        return replace(self, buffer=buffer, shape=shape, rank=rank or self.rank, **changes)


def shape_of_value(shape: tuple[int, ...]) -> Shape:
    """Of one sample, (1, F) or (1, C, H, W).

    Raises:
        NoForm: if it is neither.
    """
    if len(shape) == 2:
        return shape[1], 1, 1
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    raise NoForm(f"values of {len(shape)} axes; vectors (N, F) and maps (N, C, H, W) have a form")


def floats_like(value: Values) -> Values:
    """Floats of a value's shape in a buffer of their own."""
    return Values(Buffer(int(np.prod(value.shape)), 4), value.shape, value.rank)


def per_channel(reals: Tensor) -> bool:
    """Whether codes stand for other reals in other channels."""
    return bool((reals != reals[:1]).any())


def as_floats(program: Program, value: Values) -> Values:
    """The reals themselves, decoded where they are codes."""
    if value.reals is None:
        return value
    result = floats_like(value)
    sizes = (str(value.pixels), str(value.channels))
    if not per_channel(value.reals):
        table = program.constant(value.reals[0].numpy())
        arguments = (table, "0", value.buffer, result.buffer, *sizes)
        program.add("decode_codes", arguments, [value.buffer], result.buffer)
    elif value.scales is not None and value.zeros is not None:
        scales, zeros = program.constant(value.scales.numpy()), program.constant(value.zeros.numpy())
        program.add("decode_steps", (scales, zeros, value.buffer, result.buffer, *sizes), [value.buffer], result.buffer)
    else:
        table, steps = program.constant(value.reals.numpy()), str(value.reals.shape[1])
        program.add("decode_codes", (table, steps, value.buffer, result.buffer, *sizes), [value.buffer], result.buffer)
    return result
