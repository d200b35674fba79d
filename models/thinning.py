"""Structural pruning of any network by channel groups, i.e. channels that can only be removed together.

A *channel group* is a set of channels, all over a network, that can only be removed together: output channels of a
convolution, the normalisation that scales them, the next layers that read them, and other layers that a residual sum
ties to them (Fang et al. 2023, DepGraph). It is counted in *units*, the least that can be removed: mostly one channel
of each layer, r^2 channels of the layer before a pixel shuffle of factor r. A *spec* gives for each group the
percentage of units to keep; the first ones are kept, so that a narrow network's weights are part of a wider one's. An
import sorts units by importance (`ganpress.structure.channel_importance`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

Side = Literal["in", "out"]
"""Input or output channels of a layer. Layers in which these are the same channels only have `out`."""

Axes = Mapping[str, tuple[Side | None, ...]]
"""Side whose channels each leading dimension of a layer's tensors counts, by tensor; None for no side."""

NORMS = (_BatchNorm, _InstanceNorm)
KINDS = (_ConvNd, nn.Linear, *NORMS, nn.GroupNorm, nn.PReLU)
"""Kinds of layers that can be made narrower."""


@dataclass(frozen=True)
class Slot:
    """Position of a group's channels in one layer, or in a parameter outside layers.

    Unit u has the channels offset + u block … offset + (u + 1) block - 1.

    Behind a concatenation the offset is not 0; before a pixel shuffle, or behind a flattening, the block is not 1.
    """

    layer: str
    side: Side
    offset: int
    block: int


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together, named by the first layer that computes them."""

    name: str
    units: int
    slots: tuple[Slot, ...]

    def kept_units(self, percent: int) -> int:
        """Return the number of units to keep: the nearest whole number, at least 1.

        Raises:
            ValueError: if `percent` is outside 1 … 100.
        """
        if not 1 <= percent <= 100:
            raise ValueError(f"a channel group keeps 1 to 100 percent of its channels, found {percent} for {self.name}")
        return max(1, (self.units * percent + 50) // 100)


def axes(layer: nn.Module) -> Axes:
    """Name the channel dimensions of a layer's parameters and buffers; those that it does not have are left out."""
    if isinstance(layer, _ConvNd):
        named: dict[str, tuple[Side | None, ...]] = {"weight": _filter_axes(layer), "bias": ("out",)}
    elif isinstance(layer, nn.Linear):
        named = {"weight": ("out", "in"), "bias": ("out",)}
    elif isinstance(layer, nn.PReLU):
        named = {"weight": ("out" if layer.num_parameters > 1 else None,)}
    else:
        named = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), ("out",))
    return {name: sides for name, sides in named.items() if getattr(layer, name, None) is not None}


def _filter_axes(layer: _ConvNd) -> tuple[Side | None, ...]:
    if layer.groups > 1:
        return ("out",)
    return ("in", "out") if layer.transposed else ("out", "in")


def channel_axis(dimensions: int) -> int | None:
    """Return the channel axis of a bare parameter that is broadcast against maps (N, C, H, W)."""
    return {1: 0, 2: 1, 3: 0, 4: 1}.get(dimensions)


def _is_layer(network: nn.Module, name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    return not isinstance(getattr(network.get_submodule(owner), leaf, None), Tensor)


def _slot_length(network: nn.Module, name: str, side: Side) -> int:
    """Channels of a layer on one side, or of a bare parameter."""
    if _is_layer(network, name):
        return count_channels(network.get_submodule(name), side)
    parameter = network.get_parameter(name)
    return int(parameter.shape[channel_axis(parameter.dim()) or 0])


def count_channels(layer: nn.Module, side: Side) -> int:
    """Channels of a layer on one side."""
    names = {
        _ConvNd: ("in_channels", "out_channels"),
        nn.Linear: ("in_features", "out_features"),
        nn.GroupNorm: ("num_channels",) * 2,
        nn.PReLU: ("num_parameters",) * 2,
    }
    for kind, (read, made) in names.items():
        if isinstance(layer, kind):
            return int(getattr(layer, read if side == "in" else made))
    return int(getattr(layer, "num_features"))  # noqa: B009 (torch types it as a tensor or a module)


def kept_channels(
    network: nn.Module, groups: Sequence[ChannelGroup], percents: Sequence[int]
) -> dict[tuple[str, Side], Int64[Tensor, " _"]]:
    """Return the channels to keep, for each side of each layer with channels of a group.

    Args:
        network: the network at full width.
        groups: its channel groups.
        percents: for each group, the share of its units that stays.

    Raises:
        ValueError: if there is not one percentage for each group, or one is outside 1 … 100.
    """
    if len(percents) != len(groups):
        raise ValueError(f"this network has {len(groups)} channel groups, found a spec of {len(percents)} numbers")
    masks: dict[tuple[str, Side], Tensor] = {}
    for group, percent in zip(groups, percents, strict=True):
        kept = group.kept_units(percent)
        for slot in group.slots:
            layer = network.get_submodule(slot.layer) if _is_layer(network, slot.layer) else None
            if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
                continue  # one slope for all channels
            length = _slot_length(network, slot.layer, slot.side)
            mask = masks.setdefault((slot.layer, slot.side), torch.ones(length, dtype=torch.bool, device="cpu"))
            mask[slot.offset + kept * slot.block : slot.offset + group.units * slot.block] = False
    return {place: mask.nonzero().flatten() for place, mask in masks.items()}


def thin_(network: nn.Module, groups: Sequence[ChannelGroup], percents: Sequence[int]) -> None:
    """Remove the last channels of each group from a network of full width, in place; on the meta device as well.

    Raises:
        ValueError: see `kept_channels`.
    """
    for (name, side), index in kept_channels(network, groups, percents).items():
        if not _is_layer(network, name):
            owner, _, leaf = name.rpartition(".")
            axis = channel_axis(network.get_parameter(name).dim()) or 0
            _replace_tensor_(network.get_submodule(owner), leaf, axis, index)
            continue
        layer = network.get_submodule(name)
        if len(index) == count_channels(layer, side):
            continue
        for tensor_name, dimension in _dimensions(layer, side):
            _replace_tensor_(layer, tensor_name, dimension, index)
        _set_channels_(layer, side, len(index))


@torch.no_grad()
def permute_(network: nn.Module, group: ChannelGroup, order: Int64[Tensor, " units"]) -> None:
    """Put the units of a group into another order, in place, in every layer with channels of the group.

    Args:
        network: the network at full width.
        group: one of its channel groups.
        order: the unit for each place.
    """
    for slot in group.slots:
        is_layer = _is_layer(network, slot.layer)
        layer = network.get_submodule(slot.layer) if is_layer else None
        if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
            continue  # one slope for all channels
        index = torch.arange(_slot_length(network, slot.layer, slot.side))
        units = order[:, None] * slot.block + torch.arange(slot.block)
        index[slot.offset : slot.offset + group.units * slot.block] = slot.offset + units.flatten()
        if layer is None:
            tensor = network.get_parameter(slot.layer)
            tensor.copy_(tensor.index_select(channel_axis(tensor.dim()) or 0, index))
            continue
        for name, dimension in _dimensions(layer, slot.side):
            tensor = getattr(layer, name)
            tensor.copy_(tensor.index_select(dimension, index))


def _dimensions(layer: nn.Module, side: Side) -> Iterator[tuple[str, int]]:
    for name, sides in axes(layer).items():
        yield from ((name, dimension) for dimension, counted in enumerate(sides) if counted == side)


def _replace_tensor_(layer: nn.Module, name: str, dimension: int, index: Int64[Tensor, " kept"]) -> None:
    old = getattr(layer, name)
    cut = old.detach().index_select(dimension, index.to(old.device))
    setattr(layer, name, nn.Parameter(cut, old.requires_grad) if isinstance(old, nn.Parameter) else cut)


def _set_channels_(layer: nn.Module, side: Side, count: int) -> None:
    if isinstance(layer, _ConvNd):
        if layer.groups > 1:
            layer.groups = count // (layer.out_channels // layer.groups)
            layer.in_channels = layer.out_channels = count
        elif side == "in":
            layer.in_channels = count
        else:
            layer.out_channels = count
    elif isinstance(layer, nn.Linear):
        if side == "in":
            layer.in_features = count
        else:
            layer.out_features = count
    elif isinstance(layer, nn.GroupNorm):
        if layer.num_groups > 1:  # there is only one group
            layer.num_groups = count // (layer.num_channels // layer.num_groups)
        layer.num_channels = count
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = count
    else:
        setattr(layer, "num_features", count)  # noqa: B010


def kept_indices(
    network: nn.Module, groups: Sequence[ChannelGroup], narrow: Sequence[int], wide: Sequence[int]
) -> dict[str, tuple[Int64[Tensor, " _"] | None, ...]]:
    """Return the indices of a wide network's tensors that a narrow one keeps, if they are not the first ones.

    Args:
        network: the network at full width, also on the meta device.
        groups: its channel groups.
        narrow: percentages of the narrow network; none above those of the wide one.
        wide: percentages of the wide network.

    Returns:
        For a parameter or buffer by name, the indices for each dimension; None keeps the first.
    """
    full = kept_channels(network, groups, wide)
    positions = {
        place: torch.searchsorted(full[place], index) for place, index in kept_channels(network, groups, narrow).items()
    }
    scattered = {place: index for place, index in positions.items() if int(index[-1]) != len(index) - 1}
    kept: dict[str, tuple[Tensor | None, ...]] = {}
    for name in dict.fromkeys(layer for layer, _ in scattered):
        if not _is_layer(network, name):
            dimensions = network.get_parameter(name).dim()
            places: list[Tensor | None] = [None] * dimensions
            places[channel_axis(dimensions) or 0] = scattered[name, "out"]
            kept[name] = tuple(places)
            continue
        layer = network.get_submodule(name)
        for tensor_name, sides in axes(layer).items():
            indices = tuple(None if side is None else scattered.get((name, side)) for side in sides)
            if any(index is not None for index in indices):
                rest = getattr(layer, tensor_name).dim() - len(indices)
                kept[f"{name}.{tensor_name}"] = (*indices, *(None,) * rest)
    return kept
