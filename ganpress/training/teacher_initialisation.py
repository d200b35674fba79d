"""Weights of a supernet from its teacher, the most important channels first.

A sub-generator keeps the first n channels of each layer. So that these are the ones worth keeping, the teacher's
channels are put in descending order of importance before they are copied, as in Once-for-All (Cai et al. 2020, section
3.2) and GAN Compression (Li et al. 2020). The importance of a channel is the L1 norm of the filters that make it (Li et
al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1).

Channels that are added to each other, such as a residual trunk, must move together: `ganpress.structure.channel_groups`
finds them in any network, so there is no code per architecture. Channels that it cannot follow keep their places; that
the images are the same is checked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ganpress.errors import ConfigError
from ganpress.structure.channel_groups import find_groups
from ganpress.structure.dependency_graph import is_grouped
from models.elastic import Elastic
from models.thinning import ChannelGroup, Slot, axes

Place = tuple[str, int]
"""Name of a parameter or buffer, and one of its dimensions."""


@torch.no_grad()
def initialise_from_teacher_(supernet: Elastic, teacher: nn.Module, example: Float[Tensor, "1 ..."]) -> None:
    """Give the widest network of `supernet` the teacher's weights, the most important channels of each layer first.

    Where the widest network is as wide as the teacher it draws the same images; where it is narrower it is the teacher
    with its least important channels cut off.

    Args:
        supernet: its widest network must be of the teacher's architecture, and nowhere wider.
        teacher: left as it is.
        example: one input of the teacher, by which its layers are traced.

    Raises:
        ConfigError: if the two are of different architectures, the supernet is wider somewhere, or channels cannot be
            followed through the network; names the tensor.
    """
    widest = supernet.widest
    _check_fits(widest, teacher)
    state = {name: tensor.detach().clone() for name, tensor in teacher.state_dict().items()}
    units = {group.name: group.units for group in find_groups(widest, example, parameters=True).groups}
    pieces: dict[Place, list[_Piece]] = {}
    for group in find_groups(teacher, example, parameters=True).groups:
        kept = units.get(group.name, 1)  # one channel alone is no group
        best = importance(teacher, group).argsort(descending=True, stable=True)[:kept]
        for slot in group.slots:
            for place in _places(teacher, slot):
                pieces.setdefault(place, []).append(_Piece.of(slot, group.units, best))
    for (name, dimension), moved in pieces.items():
        order = _order(moved, state[name].shape[dimension])
        state[name] = state[name].index_select(dimension, order.to(state[name].device))
    for name, tensor in widest.state_dict().items():
        if tensor.shape != state[name].shape:
            raise ConfigError(
                f"the channels of '{name}' cannot be followed through the teacher, so the least important ones cannot "
                "be cut off; let supernet.widths reach the teacher's own, or set supernet.initial to 'random'"
            )
    widest.load_state_dict(state)
    if all(tensor.shape == state[name].shape for name, tensor in teacher.state_dict().items()):
        _check_images(widest, teacher, example)


def importance(network: nn.Module, group: ChannelGroup) -> Float[Tensor, " units"]:
    """L1 norm of the filters that make each unit, summed over the layers whose outputs are added."""
    total, parameters = torch.zeros(group.units), dict(network.named_parameters())
    for slot in group.slots:
        layer = None if slot.layer in parameters else network.get_submodule(slot.layer)
        if slot.side == "out" and isinstance(layer, _ConvNd | nn.Linear) and not is_grouped(layer):
            weight = layer.weight.detach().abs().cpu()
            norms = weight.movedim(axes(layer)["weight"].index("out"), 0).flatten(1).sum(1)
            total += norms[slot.offset : slot.offset + group.units * slot.block].view(group.units, slot.block).sum(1)
    return total


@dataclass(frozen=True)
class _Piece:
    """The channels first … last - 1 of a tensor's dimension, and which of them stay, in their new order."""

    first: int
    last: int
    channels: Tensor
    """(kept,) indices into the whole dimension."""

    @classmethod
    def of(cls, slot: Slot, units: int, best: Int64[Tensor, " kept"]) -> "_Piece":
        """The channels of a slot when of its group's `units` the `best` stay, in that order."""
        channels = (best[:, None] * slot.block + torch.arange(slot.block)).flatten() + slot.offset
        return cls(slot.offset, slot.offset + units * slot.block, channels)


def _places(network: nn.Module, slot: Slot) -> Iterator[Place]:
    """The tensor dimensions that count the channels of a slot."""
    parameter = dict(network.named_parameters()).get(slot.layer)
    if parameter is not None:  # of no layer: (channels, …) or (1, channels, …)
        yield slot.layer, next(dimension for dimension, length in enumerate(parameter.shape) if length > 1)
        return
    for own, sides in axes(network.get_submodule(slot.layer)).items():
        yield from ((f"{slot.layer}.{own}", dimension) for dimension, side in enumerate(sides) if side == slot.side)


def _order(pieces: Sequence[_Piece], size: int) -> Int64[Tensor, " kept"]:
    """Indices of a dimension of `size` channels: each piece in its new order, channels of no piece where they are."""
    order, end = [], 0
    for piece in sorted(pieces, key=lambda one: one.first):
        order += [torch.arange(end, piece.first), piece.channels]
        end = piece.last
    return torch.cat([*order, torch.arange(end, size)])


def _check_fits(widest: nn.Module, teacher: nn.Module) -> None:
    wanted, given = widest.state_dict(), teacher.state_dict()
    for name in [*wanted, *given]:
        ours, theirs = (tuple(state[name].shape) if name in state else None for state in (wanted, given))
        if ours is None or theirs is None or len(ours) != len(theirs):
            holder = "teacher" if ours is None else "supernet's widest network"
            raise ConfigError(
                f"a supernet cannot start from this teacher: only the {holder} has '{name}'; they must be of the same "
                "family (the mobile one is another): change supernet.family, or set supernet.initial to 'random'"
            )
        if any(mine > other for mine, other in zip(ours, theirs, strict=True)):
            raise ConfigError(
                f"a supernet cannot start from a narrower teacher: '{name}' is {ours} in its widest network and "
                f"{theirs} in the teacher; lower supernet.widths, or set supernet.initial to 'random'"
            )


def _check_images(widest: nn.Module, teacher: nn.Module, example: Float[Tensor, "1 ..."]) -> None:
    """Check on noise that both networks draw the same images.

    Raises:
        ConfigError: if they do not, because channels were put out of step with each other.
    """
    modes = {network: network.training for network in (widest, teacher)}
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example.device)
    ours, theirs = (network.eval()(noise) for network in modes)
    for network, training in modes.items():
        network.train(training)
    if not torch.allclose(ours, theirs, atol=1e-2 * float(theirs.abs().max())):
        raise ConfigError(
            "the channels of this teacher cannot be put in another order without changing its images (an operation "
            "between layers depends on their order); set supernet.initial to 'random'"
        )
