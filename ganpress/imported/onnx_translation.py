"""Translates an ONNX graph into a network, operator by operator.

Each value is known twice: as a node of the network that is written, and as what it is for an example of `BATCH` inputs,
of which only shapes are computed; what does not depend on the input is computed, within `MOST_VALUES`. Shapes that the
graph computes from its input are numbers in the example, so that they are folded; a first number that is the batch is
read from the input again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from ganpress.errors import ConfigError, shown
from ganpress.imported.graph_layers import GraphBuilder

MOST_VALUES = 2**27
"""Numbers in one result of one sample; half a gigabyte. A file of a few bytes may ask for any."""
BATCH = 7
"""Inputs of the example; a number that hardly stands in a shape for another reason."""


@dataclass(frozen=True)
class Value:
    """A result of the graph."""

    example: Tensor
    """An example of the value; it is on the meta device if the value depends on the input."""
    node: fx.Node | None = None
    """Node that computes the value; None if it does not depend on the input."""
    name: str = ""
    is_size: bool = False
    """Whether it is the number of inputs, which torch takes as a number and not as a tensor."""

    @property
    def is_constant(self) -> bool:
        return self.node is None


class Translation:
    """A network that is being written.

    Args:
        path: of the file, for messages.
        operators: how each kind of operator is translated.
        name: of the graph's input.
        shape: of `BATCH` inputs.
    """

    def __init__(self, path: Path, operators: "Mapping[str, Operator]", name: str, shape: torch.Size) -> None:
        self._operators = operators
        self._path, self._built = path, GraphBuilder()
        self._input = self._built.input("x")
        self._values: dict[str, Value] = {name: Value(torch.zeros(shape, device="meta"), self._input)}
        self._constants: dict[str, fx.Node] = {}
        self._operator = ""

    def constant(self, name: str, array: Any) -> None:
        """A tensor of the file; half precision becomes single."""
        value = torch.from_numpy(np.array(array))
        self._values[name] = Value(value.float() if value.is_floating_point() else value, None, name)

    @torch.no_grad()
    def translate(self, node: Any, helper: Any, numbers: Any) -> None:
        """Translate one operator.

        Raises:
            ConfigError: naming it, if it has no counterpart or is used in a way that has none.
        """
        name = node.name or (node.output[0] if node.output else "without a result")
        self._operator = f"{shown(node.op_type)} '{shown(name)}'"
        if node.op_type not in self._operators or node.domain not in ("", "ai.onnx"):
            raise ConfigError(f"{self._path}: the operator {self._operator} has no counterpart here")
        try:
            attributes = _attributes(node, helper, numbers)
            inputs = [self._values[name] if name else None for name in node.input]
            results = self._operators[node.op_type](self, inputs, attributes)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{self._path}: the operator {self._operator} cannot be translated: {shown(error, 160)}"
            ) from None
        made = results if isinstance(results, list) else [results]
        for name, value in zip(node.output, made, strict=False):
            if name:
                self._values[name] = value

    def finish(self, name: str) -> nn.Module:
        """The network whose result has a name."""
        if name not in self._values:
            raise ConfigError(f"{self._path}: no operator computes its result '{shown(name)}'")
        result = self._values[name]
        if result.node is None:
            raise ConfigError(f"{self._path}: its output does not depend on its input")
        return self._built.finish(result.node)

    def refused(self, words: str) -> ConfigError:
        """An operator that is used in a way without a counterpart."""
        return ConfigError(f"{self._path}: the operator {self._operator} {words}, which has no counterpart here")

    def call(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Value:
        """A function of values and plain arguments; of constants alone it is computed now."""
        with torch.device("meta"):
            example = function(*map(_shape_alone, args), **{name: _shape_alone(one) for name, one in kwargs.items()})
        self._check_size(example)
        if not any(isinstance(one, Value) and not one.is_constant for one in _flat([*args, *kwargs.values()])):
            return Value(function(*map(_example, args), **{name: _example(one) for name, one in kwargs.items()}))
        nodes = [self._node(one) for one in args]
        return Value(
            example, self._built.call(function, *nodes, **{name: self._node(one) for name, one in kwargs.items()})
        )

    def layer(self, name: str, made: nn.Module, x: Value) -> Value:
        """A layer that reads a value."""
        assert x.node is not None
        stem = name.rpartition(".")[0] or name or type(made).__name__.lower()
        tensors = {key: one.to("meta") for key, one in (*made.named_parameters(), *made.named_buffers())}
        example = functional_call(made, tensors, (x.example,))
        self._check_size(example)
        return Value(example, self._built.layer(stem, made, x.node))

    def _check_size(self, example: Tensor) -> None:
        """Refuse a result that would not fit into memory."""
        samples = BATCH if example.dim() and example.shape[0] == BATCH else 1
        if example.numel() // samples > MOST_VALUES:
            raise self.refused(f"makes {example.numel() // samples:,} numbers, of which {MOST_VALUES:,} are allowed")

    def shape(self, numbers: list[int], static: bool = True) -> list[Any]:
        """Numbers of a shape, the batch read from the input; with `static` a first 1 counts as the batch, too."""
        if numbers and (numbers[0] == BATCH or (static and numbers[0] == 1)):
            return [self._batch(), *numbers[1:]]
        return numbers

    def _batch(self) -> Any:
        return Value(torch.tensor(BATCH), self._built.method("size", self._input, 0), is_size=True)

    def _node(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._node(one) for one in value]
        if not isinstance(value, Value):
            return value
        if value.node is not None:
            return value.node
        key = value.name or str(id(value))
        if key not in self._constants:
            self._constants[key] = self._built.constant(value.name or "constant", value.example)
        return self._constants[key]


def _attributes(node: Any, helper: Any, numbers: Any) -> dict[str, Any]:
    """Options of an operator by name, as Python's values."""
    attributes: dict[str, Any] = {}
    for one in node.attribute:
        value = helper.get_attribute_value(one)
        attributes[one.name] = value.decode() if isinstance(value, bytes) else value
        if one.name == "value" and node.op_type in ("Constant", "ConstantOfShape"):
            attributes["value"] = torch.from_numpy(np.array(numbers.to_array(value)))
    return attributes


def _flat(values: list[Any]) -> list[Any]:
    return [one for value in values for one in (_flat(list(value)) if isinstance(value, list | tuple) else [value])]


def _shape_alone(value: Any) -> Any:
    """Convert an argument for a call that only computes shapes."""
    if isinstance(value, list | tuple):
        return [_shape_alone(one) for one in value]
    made = _example(value)
    return made.to("meta") if isinstance(made, Tensor) else made


def _example(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_example(one) for one in value]
    if not isinstance(value, Value):
        return value
    return int(value.example) if value.is_size else value.example


Operator = Callable[[Translation, list[Any], dict[str, Any]], Any]
"""(translation, inputs of the operator, its attributes) -> its result, or several."""


def whole_numbers(value: Any) -> list[int]:
    """Whole numbers that a constant or an attribute holds."""
    if isinstance(value, Value):
        if not value.is_constant:
            raise ValueError("it is told a shape that depends on the input's numbers")
        return [int(one) for one in value.example.flatten()]
    return [int(one) for one in value]


def optional(inputs: list[Any], place: int) -> Any:
    """An input of an operator; None where it is left out."""
    return inputs[place] if len(inputs) > place else None
