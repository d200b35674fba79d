"""Decomposes a network into the layers that a runtime runs, each with its shapes.

The network runs once without data, on the meta device, and every tensor function that it calls is recorded.
Functions that runtimes run as one kernel are one layer: a convolution or matrix product with the zero padding before
it, and with the batch normalisation, constant factors and offsets, and activation behind it. So no architecture has to
describe itself.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ganpress.errors import ConfigError
from ganpress.structure.function_graph import Untraceable, shape_of, trace_functions
from models.elastic import NoInitialisation

MULTIPLYING = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "scaled_dot_product_attention",
})  # fmt: skip
FUSED = frozenset({"batch_norm", "relu", "relu_", "leaky_relu", "leaky_relu_", "tanh", "sigmoid", "clamp", "hardtanh"})
"""Functions that run as part of the convolution or product before them."""
AFFINE = frozenset({"add", "add_", "mul", "mul_", "sub", "sub_"})
"""Part of the product before it, too, where the other operand is constant."""
FREE = frozenset({
    "dropout", "dropout_", "feature_dropout", "contiguous", "detach", "reshape", "view", "flatten", "unflatten",
    "squeeze", "unsqueeze", "identity", "to", "type_as", "expand_as", "part",
})  # fmt: skip
"""Functions without cost, which only give another view of the same values."""


@dataclass(frozen=True)
class Operand:
    """A tensor that a function takes."""

    shape: tuple[int, ...]
    computed: bool
    """Whether it depends on the network's input; else it is a parameter, a buffer or another constant."""

    def __repr__(self) -> str:
        return ("" if self.computed else "constant ") + "x".join(map(str, self.shape))


@dataclass(frozen=True)
class Call:
    """One function that the network calls; tensors among the arguments are `Operand`s."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    result: tuple[int, ...]
    """Shape of what it computes."""

    def __str__(self) -> str:
        words = [_text(value) for value in self.arguments]
        words += [f"{name}={_text(value)}" for name, value in self.named.items() if value is not None]
        return f"{self.name}({', '.join(words)})"

    @property
    def operands(self) -> list[Operand]:
        """Tensors among the arguments, in order."""
        leaves = pytree.tree_leaves((self.arguments, self.named))
        return [leaf for leaf in leaves if isinstance(leaf, Operand)]

    def filled(self, values: Iterator[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and named arguments, with the next of `values` in the place of each operand."""
        filled: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_map(
            lambda leaf: next(values) if isinstance(leaf, Operand) else leaf, (self.arguments, self.named)
        )
        return filled

    def run(self, tensors: Iterator[Tensor]) -> Tensor:
        """Call the function with the next of `tensors` in each operand's place."""
        arguments, named = self.filled(tensors)
        result = self.function(*arguments, **named)
        first: Tensor = pytree.tree_leaves(result)[0]
        return first


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)


@dataclass(frozen=True)
class Layer:
    """Functions that run as one; two layers of the same key take the same time."""

    calls: tuple[Call, ...]

    @property
    def key(self) -> str:
        """Functions, shapes and numbers in words."""
        return " > ".join(map(str, self.calls))

    @property
    def multiplies(self) -> bool:
        """Whether it holds a convolution or matrix product."""
        return any(call.name in MULTIPLYING for call in self.calls)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of its input; the largest of several."""
        if not self.calls:
            return (1, 1, 1, 1)
        return max((one.shape for one in self.calls[0].operands if one.computed), key=math.prod)


IDLE = Layer(())
"""A network that computes nothing, to measure the overhead of a call into a runtime."""


def trace_layers(build: Callable[[], nn.Module], input_shape: Sequence[int]) -> tuple[Layer, ...]:
    """Take a network apart.

    Args:
        build: makes the network; called on the meta device.
        input_shape: of one input (1, …).

    Raises:
        ConfigError: if the network cannot run without data.
    """
    try:
        with torch.device("meta"):
            with NoInitialisation():
                network = build().eval()
            graph = trace_functions(network, torch.empty(tuple(input_shape)))
    except (RuntimeError, NotImplementedError, TypeError, Untraceable) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"the network's layers cannot be listed: {reason}; set search.latency to 'measured'"
        ) from None
    return tuple(_grouped(_recorded(graph)))


@dataclass(frozen=True)
class _Recorded:
    """A call, and by whose results it is fed."""

    call: Call
    sources: tuple[int, ...]
    """Positions of the calls whose results it takes; -1 is the network's input."""


def _recorded(graph: fx.Graph) -> list[_Recorded]:
    """The calls of a graph that compute a tensor from the network's input."""
    recorded: list[_Recorded] = []
    makers: dict[fx.Node, int] = {}
    for node in graph.nodes:
        sources = tuple(makers[one] for one in node.all_input_nodes if one in makers)
        if node.op == "placeholder":
            makers[node] = -1
        elif node.op == "call_method" and sources:
            if str(node.target) in FREE or _only_indexes(node) or not node.meta["value"].is_floating_point():
                makers[node] = sources[0]
            else:
                makers[node] = len(recorded)
                recorded.append(_Recorded(_call(node), sources))
    return recorded


def _call(node: fx.Node) -> Call:
    operand: Any = lambda one: Operand(shape_of(one), one.meta["computed"])  # noqa: E731
    mapped: Any = fx.node.map_arg((node.args, node.kwargs), operand)
    arguments, named = mapped
    return Call(str(node.target), node.meta["function"], tuple(arguments), dict(named), shape_of(node))


def _only_indexes(node: fx.Node) -> bool:
    """Whether an index keeps every number, as `x[:, :, None, None]` does."""
    if node.target != "getitem":
        return False
    taken = node.all_input_nodes[0].meta["value"]
    return bool(taken.numel() == node.meta["value"].numel())


def _grouped(recorded: Sequence[_Recorded]) -> Iterator[Layer]:
    """Put together what runs as one, in the order in which it runs."""
    readers: dict[int, list[int]] = {}
    for position, one in enumerate(recorded):
        for source in one.sources:
            readers.setdefault(source, []).append(position)

    def only_reader(position: int) -> int | None:
        found = readers.get(position, [])
        return found[0] if len(found) == 1 else None

    taken: set[int] = set()
    for position, one in enumerate(recorded):
        if position in taken:
            continue
        group, follower = [position], only_reader(position)
        if _pads_with_zeros(one.call) and follower is not None and recorded[follower].call.name in MULTIPLYING:
            group.append(follower)
            follower = only_reader(follower)
        if recorded[group[-1]].call.name in MULTIPLYING:
            while follower is not None and _is_fused(recorded[follower].call):
                group.append(follower)
                follower = only_reader(follower)
        taken.update(group)
        yield Layer(tuple(recorded[index].call for index in group))


def _pads_with_zeros(call: Call) -> bool:
    values = [*call.arguments[2:], *call.named.values()]
    return call.name == "pad" and not any(isinstance(value, str) and value != "constant" for value in values)


def _is_fused(call: Call) -> bool:
    one_computed = sum(operand.computed for operand in call.operands) == 1
    return one_computed and (call.name in FUSED or call.name in AFFINE)


class LayerNetwork(nn.Module):
    """One layer as a network of its own: (N, …) -> the first number of each sample's result.

    So little is put out that handing it over costs nothing. Constants are positive random numbers, because one of them
    may be a variance; what else the layer computes from is constant here.
    """

    def __init__(self, layer: Layer, generator: torch.Generator) -> None:
        super().__init__()
        self.layer = layer
        shape, taken = layer.input_shape, False
        self._fed: list[list[str | None]] = []
        for number, call in enumerate(layer.calls):
            fed: list[str | None] = []
            for place, operand in enumerate(call.operands):
                if operand.computed and (number > 0 or (operand.shape == shape and not taken)):
                    taken = True
                    fed.append(None)
                    continue
                name = f"constant_{number}_{place}"
                value = 0.5 + torch.rand(operand.shape, generator=generator)
                # No buffers: torchao's quantizer gives those of a traced graph their names once more, and fails.
                self.register_parameter(name, nn.Parameter(value, requires_grad=False))
                fed.append(name)
            self._fed.append(fed)

    def steps(self) -> Iterator[tuple[Call, list[Tensor | None]]]:
        """Each call with its operands; None is what the call before computed, at first the input."""
        for call, fed in zip(self.layer.calls, self._fed, strict=True):
            yield call, [None if name is None else self.get_parameter(name) for name in fed]

    def forward(self, x: Tensor) -> Tensor:
        for call, constants in self.steps():
            pairs = zip(constants, call.operands, strict=True)
            x = call.run(iter([_viewed(x, of) if one is None else _beside(x, one, call) for one, of in pairs]))
        return x[(slice(None), *(slice(0, 1) for _ in x.shape[1:]))]


def _viewed(x: Tensor, operand: Operand) -> Tensor:
    """Reshape a computed tensor to the shape in which it is read, because views between calls are not recorded as
    calls.
    """
    return x if x.shape[1:] == operand.shape[1:] else x.reshape(len(x), *operand.shape[1:])


def _beside(x: Tensor, constant: Tensor, call: Call) -> Tensor:
    """A constant; what is put beside `x` must have as many samples."""
    return constant.expand(len(x), *constant.shape[1:]) if call.name in ("cat", "concat", "stack") else constant
