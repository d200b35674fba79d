"""Operands of functions that are written as nodes of an ONNX graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ganpress.edge.graphs.graph_writer import GraphWriter

END = int(np.iinfo(np.int64).max)
"""End of a slice that runs to the end of its axis."""


class NoForm(Exception):
    """A function, or a way to call it, is not supported here."""


@dataclass(frozen=True)
class Value:
    """A computed tensor of the graph."""

    name: str
    shape: tuple[int, ...]
    """Shape of one sample, (1, …)."""


Operand = Value | Tensor | float
"""A computed tensor, or a constant."""
Form = Callable[..., str]
"""The writer of a function: (writer, *arguments of the function) -> name of the result; raises NoForm for arguments
that it does not support.
"""


def name_of(writer: GraphWriter, operand: Operand) -> str:
    """Return the name of an operand in the graph; a constant is stored there first."""
    if isinstance(operand, Value):
        return operand.name
    array = operand.numpy() if isinstance(operand, Tensor) else np.array(operand)
    return writer.constant(array.astype(np.float32))


def pair(value: int | Sequence[int]) -> list[int]:
    """Expand one number for both axes to one for each."""
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values
