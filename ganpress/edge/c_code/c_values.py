"""Values that a C program has computed: feature maps of quantized values, or of floats.

A quantized value is called a code, and the number that it stands for its real.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ganpress.edge.c_code.c_program import Buffer, Program
from ganpress.edge.graphs.form_operands import NoForm

Shape = tuple[int, int, int]
"""Channels, height, width; a vector has height and width 1."""


@dataclass(frozen=True)
class Values:
    """One feature map or vector."""

    buffer: Buffer
    shape: Shape
    rank: int
    """Number of axes in torch: 2 for vectors (N, F), 4 for maps (N, C, H, W)."""
    reals: Tensor | None = None
    """The real of each code, float32 (C, number of codes); None for floats."""
    scales: Tensor | None = None
    """Scales of a layer's quantized output, float32 (C,): real = scale * (code - zero); None for other values."""
    zeros: Tensor | None = None
    """Zero points that go with `scales`, uint8 (C,)."""

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def pixels(self) -> int:
        """Pixels in a channel."""
        return self.shape[1] * self.shape[2]

    @property
    def size(self) -> int:
        """Bytes for each value."""
        return self.buffer.size

    def elsewhere(self, shape: Shape, rank: int | None = None, **changes: Any) -> "Values":
        """Make values of the same kind in a new buffer."""
        buffer = Buffer(int(np.prod(shape)), self.size)
        return replace(self, buffer=buffer, shape=shape, rank=rank or self.rank, **changes)


def shape_of_value(shape: tuple[int, ...]) -> Shape:
    """Return the shape of one sample, (1, F) or (1, C, H, W), as channels, height and width.

    Raises:
        NoForm: if it is neither.
    """
    if len(shape) == 2:
        return shape[1], 1, 1
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    raise NoForm(f"values of {len(shape)} axes; vectors (N, F) and maps (N, C, H, W) are supported")


def floats_like(value: Values) -> Values:
    """Make floats of a value's shape in a new buffer."""
    return Values(Buffer(int(np.prod(value.shape)), 4), value.shape, value.rank)


def per_channel(reals: Tensor) -> bool:
    """Whether a code stands for different reals in different channels."""
    return bool((reals != reals[:1]).any())


def as_floats(program: Program, value: Values) -> Values:
    """Return the reals as floats; codes are decoded."""
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
