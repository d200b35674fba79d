"""Operands of functions that are written as nodes of an ONNX graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ganpress.edge.graphs.graph_writer import GraphWriter

END = int(np.iinfo(np.int64).max)
"""Of a slice that runs to the end of its axis."""


class NoForm(Exception):
    """A function, or a way to call it, that is not supported here."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph that is computed."""

    name: str
    shape: tuple[int, ...]
    """Of one sample, (1, …)."""


Operand = Value | Tensor | float
"""What is computed, and constants."""
Form = Callable[..., str]
"""(writer, *arguments of the function) -> name of the result. Raises NoForm for arguments that it does not know."""


def name_of(writer: GraphWriter, operand: Operand) -> str:
    """The name of an operand in the graph; a constant is written there."""
    if isinstance(operand, Value):
        return operand.name
    array = operand.numpy() if isinstance(operand, Tensor) else np.array(operand)
    return writer.constant(array.astype(np.float32))


def pair(value: int | Sequence[int]) -> list[int]:
    """One number for both axes, or one for each."""
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values
