"""Channel groups of any network: which channels must be kept, removed or put in another order together.

They are read from the dependency graph of its layers (`ganpress.structure.dependency_graph`). Channels that cannot be
followed are refused with the name of the layer that computes them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ganpress.structure.dependency_graph import ROOTS, Run, TracedChannels, is_grouped, run_plainly, trace_channels
from models.imported_generator import one_line
from models.thinning import KINDS, ChannelGroup, Side, Slot, channel_axis


@dataclass(frozen=True)
class Refusal:
    """A layer whose channels cannot be removed."""

    layer: str
    reason: str


@dataclass(frozen=True)
class FoundGroups:
    """Channel groups found by a trace, in order of execution."""

    groups: tuple[ChannelGroup, ...]
    refused: tuple[Refusal, ...]


class Untraceable(Exception):
    """A group of channels cannot be removed; the error has the reason."""


def find_groups(network: nn.Module, example: Tensor, parameters: bool = False, run: Run = run_plainly) -> FoundGroups:
    """Find the channel groups of a network.

    Args:
        network: any network with static shapes; it is not changed.
        example: an input of one sample, (1, …).
        parameters: whether to follow channels into parameters that belong to no standard layer; the slot's layer is
            then the parameter's name.
        run: how the network is run.
    """
    try:
        traced = trace_channels(network, example, run)
    except Exception as error:  # the network, and the library that follows its channels, raise many types
        reason = f"channels cannot be followed in this network ({one_line(error)})"
        return FoundGroups((), (Refusal(_first_root(network), reason),))
    groups: list[ChannelGroup] = []
    refused: list[Refusal] = []
    seen: set[str] = set()
    for name in traced.order:
        layer = traced.layer(name)
        if name in seen or not isinstance(layer, ROOTS):
            continue
        try:
            members = _members(traced, layer)
            seen |= {name, *(traced.own_name(dep) for dep, _ in members if traced.side(dep) == "out")}
            groups.append(_channel_group(traced, name, members, network, parameters))
        except Untraceable as error:
            refused.append(Refusal(name, str(error)))
        except (TypeError, ValueError, IndexError, AttributeError, RuntimeError, ZeroDivisionError) as error:
            refused.append(Refusal(name, f"its channels cannot be followed ({one_line(error)})"))
    return FoundGroups(tuple(groups), tuple(refused))


def _first_root(network: nn.Module) -> str:
    return next((name for name, layer in network.named_modules() if isinstance(layer, ROOTS)), "")


def _members(traced: TracedChannels, layer: nn.Module) -> list[tuple[Any, list[tuple[int, int]]]]:
    """Return everything that must lose channels with the outputs of `layer`: dependency and pairs (channel, unit).

    Units are counted at the member with the fewest channels, where no two units share a channel.
    """
    graph = traced.graph
    if layer not in graph.module2node:
        return []
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
    """Return the number of channels of all layers that a group reaches."""
    return sum(len(set(item.idxs)) for item in group)


def _channel_group(
    traced: TracedChannels,
    name: str,
    members: list[tuple[Any, list[tuple[int, int]]]],
    network: nn.Module,
    parameters: bool,
) -> ChannelGroup:
    """Describe a group by slots.

    Raises:
        Untraceable: if its channels cannot be removed.
    """
    if not members:
        raise Untraceable("no gradient reaches it from the output, so its use could not be traced")
    units = 1 + max(unit for _, pairs in members for _, unit in pairs)
    slots: dict[Slot, None] = {}
    for dependency, _ in members:
        if not (parameters and traced.is_parameter(dependency)):
            _check_member(traced, dependency, network)
    for dependency, pairs in members:
        own = traced.own_name(dependency)
        if own and isinstance(network.get_submodule(own), KINDS):
            slots.update(dict.fromkeys(_slots(own, traced.side(dependency), pairs, units)))
    merged = _merge_factor(network, list(slots), units)
    for dependency, pairs in members:
        if traced.is_parameter(dependency):
            slots.update(dict.fromkeys(_parameter_slots(traced.parameter_name(dependency), network, pairs, units)))
    if units // merged < 2:
        raise Untraceable("it has a single channel, or a single group of channels")
    return ChannelGroup(name, units // merged, tuple(Slot(s.layer, s.side, s.offset, s.block * merged) for s in slots))


def _check_member(traced: TracedChannels, dependency: Any, network: nn.Module) -> None:
    node, own = dependency.target, traced.own_name(dependency)
    kind = node.type.name
    reason = traced.broken.get(frozenset((dependency.source, node)))
    if reason:
        raise Untraceable(reason)
    if kind == "OUTPUT":
        raise Untraceable("its channels are those of the output")
    if traced.is_input(dependency):
        raise Untraceable("its channels are tied to those of the input")
    if traced.is_parameter(dependency):
        named = traced.parameter_name(dependency)
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
    """Yield runs of consecutive channels that contain all units in order, each equally often.

    Raises:
        Untraceable: if the channels are arranged in another way.
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


def _parameter_slots(name: str, network: nn.Module, pairs: list[tuple[int, int]], units: int) -> Iterator[Slot]:
    """As `_slots`, for a parameter outside standard layers.

    Raises:
        Untraceable: if it does not have one value for each channel along the channel axis.
    """
    parameter = network.get_parameter(name)
    axis = channel_axis(parameter.dim())
    if axis is None or len({channel for channel, _ in pairs}) != parameter.shape[axis]:
        raise Untraceable(f"its channels are tied to the parameter '{name}' of shape {tuple(parameter.shape)}")
    yield from _slots(name, "out", pairs, units)


def _merge_factor(network: nn.Module, slots: list[Slot], units: int) -> int:
    """Return how many units must be removed together to keep whole groups in grouped convolutions and normalisations.

    Raises:
        Untraceable: if groups of channels split units.
    """
    factor = 1
    for slot in slots:
        layer = network.get_submodule(slot.layer)
        size = _group_size(layer) if slot.side == "out" or is_grouped(layer) else 1
        if slot.offset % size:
            raise Untraceable(f"its channels begin within a group of '{slot.layer}'")
        factor = math.lcm(factor, size // math.gcd(size, slot.block))
    if units % factor:
        raise Untraceable(f"its {units} channels are no multiple of {factor}, which groups of channels ask for")
    return factor


def _group_size(layer: nn.Module) -> int:
    if isinstance(layer, nn.GroupNorm):
        return 1 if layer.num_groups == 1 else layer.num_channels // layer.num_groups
    return layer.out_channels // layer.groups if is_grouped(layer) and isinstance(layer, _ConvNd) else 1
