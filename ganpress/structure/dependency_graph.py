"""Dependency graph of any network's channels, from Torch-Pruning (Fang et al. 2023, DepGraph), with its gaps closed.

The graph is traced once, through autograd. Torch-Pruning follows layers, sums, concatenations and flattenings; what it
takes for element-wise and is not (pixel shuffles, broadcasting, concatenations with the network's input) is corrected
here from the shapes that autograd has recorded. `ganpress.structure.channel_groups` reads the groups of channels from
it.
"""

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from models.imported_adapter import image_of
from models.thinning import Side

ENTRY = "entry"
NETWORK = "network."
ROOTS = (_ConvNd, nn.Linear)
"""Layers that make channels."""


Run = Callable[[nn.Module, Tensor], Tensor]
"""(network, inputs) -> images."""


def run_plainly(network: nn.Module, x: Tensor) -> Tensor:
    """Run a network of one tensor; where it returns several things, the first is the image."""
    return image_of(network(x))


class _Traceable(nn.Module):
    """A network between a layer that stands for its input and an operation that stands for its output."""

    def __init__(self, network: nn.Module, example: Tensor, run: Run) -> None:
        super().__init__()
        self._run = run
        kinds = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
        channels = example.shape[1]
        size = () if example.dim() == 2 else (1,)
        self.entry = kinds[example.dim()](channels, channels, *size).to(example.device)
        self.network = copy.deepcopy(network).requires_grad_(True)
        for name, layer in list(self.network.named_modules()):
            if is_grouped(layer):
                self.network.set_submodule(name, _depthwise(layer))

    def forward(self, x: Tensor) -> Tensor:
        return self._run(self.network, self.entry(x)) + 0


def is_grouped(layer: nn.Module) -> bool:
    """Whether a convolution works on groups of channels and puts out as many as it reads."""
    return isinstance(layer, _ConvNd) and layer.groups > 1 and layer.in_channels == layer.out_channels


def _depthwise(layer: Any) -> nn.Module:
    """A layer of the same shapes whose outputs depend on inputs of the same index, as groups of channels do."""
    arguments = {
        name: getattr(layer, name) for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding")
    }
    more = "output_padding" if layer.transposed else "padding_mode"
    bias, groups = layer.bias is not None, layer.in_channels
    made: nn.Module = type(layer)(
        **arguments, dilation=layer.dilation, groups=groups, bias=bias, **{more: getattr(layer, more)}
    )
    return made


@dataclass(frozen=True)
class TracedChannels:
    """The dependency graph of a network, its index mappings corrected."""

    graph: Any
    """Torch-Pruning's, of a stand-in of the network; names of layers have the prefix `network.` there."""
    order: tuple[str, ...]
    """Names of the layers that run, in the order in which they first do."""
    broken: dict[frozenset[Any], str]
    """Pairs of nodes between which channels cannot be followed, with the reason."""

    def layer(self, name: str) -> nn.Module:
        """A layer of the stand-in by its name in the network."""
        found: nn.Module = self.graph.model.get_submodule(NETWORK + name)
        return found

    def own_name(self, dependency: Any) -> str:
        """Name of a dependency's target in the network; empty for an operation or the stand-in of the input."""
        name = self.graph._module2name.get(dependency.target.module) or ""
        return name.removeprefix(NETWORK) if name.startswith(NETWORK) else ""

    def is_parameter(self, dependency: Any) -> bool:
        """Whether a dependency's target is a parameter that belongs to no layer."""
        return bool(dependency.target.type.name == "PARAMETER")

    def parameter_name(self, dependency: Any) -> str:
        """Name in the network of such a parameter."""
        return str(self.graph._param_to_name[dependency.target.module].removeprefix(NETWORK))

    def is_input(self, dependency: Any) -> bool:
        """Whether a dependency's target is the network's input."""
        return bool(self.graph._module2name.get(dependency.target.module) == ENTRY)

    def side(self, dependency: Any) -> Side:
        """Whether a dependency takes channels from its target's output or input."""
        return "out" if self.graph.is_out_channel_pruning_fn(dependency.handler) else "in"


def trace_channels(network: nn.Module, example: Tensor, run: Run = run_plainly) -> TracedChannels:
    """Trace a network.

    Args:
        network: any network with static shapes; it is not changed.
        example: an input of one sample, (1, …).
        run: how it is run.
    """
    with torch.random.fork_rng(devices=[]):  # the stand-in's own weights are drawn, and never looked at
        traced = _Traceable(network, example, run).eval()
    order = _execution_order(traced, example)
    graph = _dependency_graph(traced, example)
    return TracedChannels(graph, tuple(order), _correct_mappings(graph))


def _execution_order(traced: _Traceable, example: Tensor) -> list[str]:
    """Names of the layers that run, in the order in which they first do."""
    order: dict[str, None] = {}
    hooks = [
        layer.register_forward_hook(lambda *_, name=name: order.setdefault(name))
        for name, layer in traced.network.named_modules()
        if name
    ]
    with torch.no_grad():
        traced(example)
    for hook in hooks:
        hook.remove()
    return list(order)


def _dependency_graph(traced: nn.Module, example: Tensor) -> Any:
    from torch_pruning import DependencyGraph
    from torch_pruning.dependency.index_mapping import (
        update_slice_index_mapping,
        update_split_index_mapping,
        update_unbind_index_mapping,
    )

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # what it warns of is checked here
        graph = DependencyGraph()
        try:  # without forward_fn, Torch-Pruning first tries a single sample without its batch dimension
            graph.build_dependency(traced, example, lambda model, x: model(x), verbose=False)
        except (TypeError, ZeroDivisionError):
            # Its guesses of concatenations and reshapings fail on tensors without channels of their own. Both are
            # corrected here anyway; what comes behind them in its last step is made up for.
            if not getattr(graph, "module2node", None):
                raise
            for node in graph.module2node.values():
                for update in (update_split_index_mapping, update_slice_index_mapping, update_unbind_index_mapping):
                    update(graph, node)
        return graph


@dataclass(frozen=True)
class _Shift:
    """Index mapping through a concatenation: channels first … last - 1 of the whole are those of one part."""

    first: int
    last: int
    into_part: bool

    def __call__(self, indices: list[Any]) -> list[Any]:
        if self.into_part:
            return [i._replace(idx=i.idx - self.first) for i in indices if self.first <= i.idx < self.last]
        return [i._replace(idx=i.idx + self.first) for i in indices]


@dataclass(frozen=True)
class _Blocks:
    """Index mapping where one channel on one side is `block` consecutive ones on the other."""

    block: int
    spread: bool

    def __call__(self, indices: list[Any]) -> list[Any]:
        if self.spread:
            return [i._replace(idx=i.idx * self.block + k) for i in indices for k in range(self.block)]
        return list(dict.fromkeys(i._replace(idx=i.idx // self.block) for i in indices))


@dataclass(frozen=True)
class _Halves:
    """Index mapping of a gated linear unit: channel i is made of channels i and i + half."""

    half: int
    spread: bool

    def __call__(self, indices: list[Any]) -> list[Any]:
        if self.spread:
            return [i._replace(idx=i.idx + start) for start in (0, self.half) for i in indices]
        return list(dict.fromkeys(i._replace(idx=i.idx % self.half) for i in indices))


def _nothing(_indices: list[Any]) -> list[Any]:
    """Index mapping of a broadcast: the one channel on one side has no counterpart among those on the other."""
    return []


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.grad_fn._input_metadata[0].shape)


def _correct_mappings(graph: Any) -> dict[frozenset[Any], str]:
    """Set the index mappings that Torch-Pruning does not know; return the edges that nothing is known of, with why."""
    broken: dict[frozenset[Any], str] = {}
    for node in graph.module2node.values():
        if node.type.name == "RESHAPE":
            _forget_mapping(graph, node)
        if node.type.name == "CONCAT" and node.grad_fn._saved_dim in (1, 1 - len(_shape(node)) + 2**64):
            _map_concatenation(node)
        elif node.type.name in ("ELEMENTWISE", "EXPAND", "OUTPUT"):
            for source in dict.fromkeys(node.inputs):
                reason = _map_operation(source, node)
                if reason:
                    broken[frozenset((source, node))] = reason
    return broken


def _forget_mapping(graph: Any, node: Any) -> None:
    """Take back what Torch-Pruning guesses of a reshaping, ignorant of pixel shuffles, and let it not guess again."""
    node.type = graph.ops.OPTYPE.ELEMENTWISE
    for neighbour in (*node.inputs, *node.outputs):
        for dependency in (*node.dependencies, *neighbour.dependencies):
            if {dependency.source, dependency.target} == {node, neighbour}:
                dependency.index_mapping[0] = None


def _map_concatenation(node: Any) -> None:
    first = 0
    sizes = [_shape(source)[1] for source in node.inputs]
    node.module.concat_sizes = sizes
    taken: set[int] = set()
    for source, size in zip(node.inputs, sizes, strict=True):
        for start, target, into_part in ((node, source, True), (source, node, False)):
            for dependency in start.dependencies:
                if dependency.target is target and id(dependency) not in taken:
                    dependency.index_mapping[1] = _Shift(first, first + size, into_part)
                    taken.add(id(dependency))
                    break
        first += size


def _map_operation(source: Any, node: Any) -> str | None:
    """Map the channels through one operation; return why it cannot be done."""
    read, made = _shape(source), _shape(node)
    if len(read) < 2 or len(made) < 2 or read[1] == made[1]:
        return None
    if len(read) == len(made) - 1 and read[0] == made[1]:
        return None  # broadcast: dimensions count from the right
    operation = node.grad_fn.name().removesuffix("0").removesuffix("Backward")
    flattened = len(made) == 2 and math.prod(read[1:]) == made[1]
    unflattened = len(read) == 2 and math.prod(made[1:]) == read[1]
    if operation == "PixelShuffle" or unflattened:
        _map_edge(source, node, _Blocks(read[1] // made[1], False), _Blocks(read[1] // made[1], True))
    elif operation == "PixelUnshuffle" or flattened:
        _map_edge(source, node, _Blocks(made[1] // read[1], True), _Blocks(made[1] // read[1], False))
    elif operation == "Glu" and read[1] == 2 * made[1]:
        _map_edge(source, node, _Halves(made[1], False), _Halves(made[1], True))
    elif read[1] == 1:
        _map_edge(source, node, _nothing, _nothing)
    else:
        return f"the operation '{operation}' makes {made[1]} of its {read[1]} channels, which cannot be followed"
    return None


def _map_edge(source: Any, node: Any, forward: Any, backward: Any) -> None:
    for start, target, mapping in ((source, node, forward), (node, source, backward)):
        for dependency in start.dependencies:
            if dependency.target is target:
                dependency.index_mapping[0] = mapping
