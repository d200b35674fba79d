"""Channel groups of any network, from Torch-Pruning's dependency graph (Fang et al. 2023, DepGraph).

The graph is traced once, through autograd. Torch-Pruning follows layers, sums, concatenations and flattenings; what it
takes for element-wise and is not (pixel shuffles, broadcasting, concatenations with the network's input) is corrected
here from the shapes that autograd has recorded, and what cannot be followed is refused by name.
"""

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from models.imported import first_tensor
from models.thinning import KINDS, ChannelGroup, Side, Slot

ENTRY = "entry"
NETWORK = "network."
ROOTS = (_ConvNd, nn.Linear)
"""Layers that make channels."""


@dataclass(frozen=True)
class Refusal:
    """A layer whose channels cannot be thinned."""

    layer: str
    reason: str


@dataclass(frozen=True)
class FoundGroups:
    """What a trace has found, in order of execution."""

    groups: tuple[ChannelGroup, ...]
    refused: tuple[Refusal, ...]


class Untraceable(Exception):
    """A group that cannot be thinned, with its reason."""


class _Traceable(nn.Module):
    """A network between a layer that stands for its input and an operation that stands for its output."""

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        super().__init__()
        kinds = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
        channels = example.shape[1]
        size = () if example.dim() == 2 else (1,)
        self.entry = kinds[example.dim()](channels, channels, *size)
        self.network = copy.deepcopy(network).requires_grad_(True)
        for name, layer in list(self.network.named_modules()):
            if _is_grouped(layer):
                self.network.set_submodule(name, _depthwise(layer))

    def forward(self, x: Tensor) -> Tensor:
        return first_tensor(self.network(self.entry(x))) + 0


def _is_grouped(layer: nn.Module) -> bool:
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


def find_groups(network: nn.Module, example: Tensor) -> FoundGroups:
    """Find the channel groups of a network.

    Args:
        network: any network of one tensor with static shapes; it is not changed.
        example: an input of one sample, (1, …).
    """
    traced = _Traceable(network, example).eval()
    order = _execution_order(traced, example)
    graph = _dependency_graph(traced, example)
    broken = _correct_mappings(graph)
    groups: list[ChannelGroup] = []
    refused: list[Refusal] = []
    seen: set[str] = set()
    for name in order:
        layer = traced.get_submodule(NETWORK + name)
        if name in seen or not isinstance(layer, ROOTS):
            continue
        members = _members(graph, layer) if layer in graph.module2node else []
        seen |= {name, *(_own_name(graph, dep) for dep, _ in members if _side(graph, dep) == "out")}
        try:
            groups.append(_channel_group(graph, name, members, network, broken))
        except Untraceable as error:
            refused.append(Refusal(name, str(error)))
    return FoundGroups(tuple(groups), tuple(refused))


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

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # what it warns of is checked here
        # Without forward_fn, Torch-Pruning first tries a single sample without its batch dimension.
        return DependencyGraph().build_dependency(traced, example, lambda model, x: model(x), verbose=False)


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
    operation = node.grad_fn.name().removesuffix("0").removesuffix("Backward")
    flattened = len(made) == 2 and math.prod(read[1:]) == made[1]
    unflattened = len(read) == 2 and math.prod(made[1:]) == read[1]
    if operation == "PixelShuffle" or unflattened:
        _map_edge(source, node, _Blocks(read[1] // made[1], False), _Blocks(read[1] // made[1], True))
    elif operation == "PixelUnshuffle" or flattened:
        _map_edge(source, node, _Blocks(made[1] // read[1], True), _Blocks(made[1] // read[1], False))
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


def _side(graph: Any, dependency: Any) -> Side:
    return "out" if graph.is_out_channel_pruning_fn(dependency.handler) else "in"


def _own_name(graph: Any, dependency: Any) -> str:
    """Name of a member in the user's network; empty for an operation or the stand-in of the input."""
    name = graph._module2name.get(dependency.target.module) or ""
    return name.removeprefix(NETWORK) if name.startswith(NETWORK) else ""


def _members(graph: Any, layer: nn.Module) -> list[tuple[Any, list[tuple[int, int]]]]:
    """Everything that must lose channels with the outputs of `layer`: dependency and pairs (channel, unit).

    Units are counted at the member with the fewest channels: seen from there, no two units share a channel.
    """
    make = graph.get_pruner_of_module(layer).prune_out_channels
    count = graph.get_pruner_of_module(layer).get_out_channels(layer)
    group = graph.get_pruning_group(layer, make, list(range(count)))
    layers = [item for item in group if isinstance(item.dep.target.module, ROOTS)]
    least = min(layers, key=lambda item: len(set(item.idxs)))
    if len(set(least.idxs)) < count:
        finer = graph.get_pruning_group(least.dep.target.module, least.dep.handler, sorted(set(least.idxs)))
        if _counted(finer) >= _counted(group):
            group = finer
    first = {root: unit for unit, root in enumerate(sorted(set(group[0].root_idxs)))}
    return [(item.dep, sorted(zip(item.idxs, (first[root] for root in item.root_idxs), strict=True))) for item in group]


def _counted(group: Any) -> int:
    """Channels of all layers that a group reaches."""
    return sum(len(set(item.idxs)) for item in group)


def _channel_group(
    graph: Any,
    name: str,
    members: list[tuple[Any, list[tuple[int, int]]]],
    network: nn.Module,
    broken: dict[frozenset[Any], str],
) -> ChannelGroup:
    """Describe a group by slots.

    Raises:
        Untraceable: if it cannot be thinned.
    """
    if not members:
        raise Untraceable("no gradient reaches it from the output, so its use could not be traced")
    units = 1 + max(unit for _, pairs in members for _, unit in pairs)
    slots: dict[Slot, None] = {}
    for dependency, _ in members:
        _check_member(graph, dependency, network, broken)
    for dependency, pairs in members:
        own = _own_name(graph, dependency)
        if own and isinstance(network.get_submodule(own), KINDS):
            slots.update(dict.fromkeys(_slots(own, _side(graph, dependency), pairs, units)))
    merged = _merge_factor(network, list(slots), units)
    if units // merged < 2:
        raise Untraceable("it has a single channel, or a single group of channels")
    return ChannelGroup(name, units // merged, tuple(Slot(s.layer, s.side, s.offset, s.block * merged) for s in slots))


def _check_member(graph: Any, dependency: Any, network: nn.Module, broken: dict[frozenset[Any], str]) -> None:
    node, own = dependency.target, _own_name(graph, dependency)
    kind = node.type.name
    reason = broken.get(frozenset((dependency.source, node)))
    if reason:
        raise Untraceable(reason)
    if kind == "OUTPUT":
        raise Untraceable("its channels are those of the output")
    if graph._module2name.get(node.module) == ENTRY:
        raise Untraceable("its channels are tied to those of the input")
    if kind == "PARAMETER":
        named = graph._param_to_name[node.module].removeprefix(NETWORK)
        raise Untraceable(f"its channels are tied to the parameter '{named}', which belongs to no standard layer")
    if own and kind != "ELEMENTWISE":
        _check_layer(own, network)


def _check_layer(name: str, network: nn.Module) -> None:
    layer = network.get_submodule(name)
    if not isinstance(layer, KINDS):
        raise Untraceable(
            f"its channels are tied to layer '{name}' of a kind that is not thinned, {type(layer).__name__}"
        )
    if isinstance(layer, _ConvNd) and layer.groups > 1 and layer.in_channels != layer.out_channels:
        raise Untraceable(
            f"its channels meet the grouped convolution '{name}', which puts out more or fewer than it reads"
        )
    extra = {key for key, _ in (*layer.named_parameters(), *layer.named_buffers())} - {
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip
    if extra:
        raise Untraceable(
            f"layer '{name}' is parametrised ({', '.join(sorted(extra))}); fold that into its weight first"
        )


def _slots(layer: str, side: Side, pairs: list[tuple[int, int]], units: int) -> Iterator[Slot]:
    """Read runs of consecutive channels that hold all units in order, each as often.

    Raises:
        Untraceable: if the channels lie in any other way.
    """
    start = 0
    while start < len(pairs):
        offset, end = pairs[start][0], start
        while (
            end < len(pairs)
            and pairs[end][0] == offset + end - start
            and pairs[end][1] >= pairs[end - (end > start)][1]
        ):
            end += 1
        block, rest = divmod(end - start, units)
        if rest or [unit for _, unit in pairs[start:end]] != [k // block for k in range(end - start)]:
            raise Untraceable(f"its channels lie scattered in layer '{layer}'")
        yield Slot(layer, side, offset, block)
        start = end


def _merge_factor(network: nn.Module, slots: list[Slot], units: int) -> int:
    """How many units must go together, so that grouped convolutions and group normalisations keep whole groups.

    Raises:
        Untraceable: if the groups of channels cut through units.
    """
    factor = 1
    for slot in slots:
        layer = network.get_submodule(slot.layer)
        size = _group_size(layer) if slot.side == "out" or _is_grouped(layer) else 1
        if slot.offset % size:
            raise Untraceable(f"its channels begin within a group of '{slot.layer}'")
        factor = math.lcm(factor, size // math.gcd(size, slot.block))
    if units % factor:
        raise Untraceable(f"its {units} channels are no multiple of {factor}, which groups of channels ask for")
    return factor


def _group_size(layer: nn.Module) -> int:
    if isinstance(layer, nn.GroupNorm):
        return layer.num_channels // layer.num_groups
    return layer.out_channels // layer.groups if _is_grouped(layer) and isinstance(layer, _ConvNd) else 1
