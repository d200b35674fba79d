"""Weights of a supernet from its teacher, the most important channels first.

A sub-generator keeps the first n channels of each layer. So that these are the ones worth keeping, the teacher's
channels are put in descending order of importance before they are copied, as in Once-for-All (Cai et al. 2020, section
3.2) and GAN Compression (Li et al. 2020). The importance of a channel is the L1 norm of the filters that make it (Li et
al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1).

Channels that are added to each other, such as a residual trunk, must move together: the groups come from the dependency
graph of Torch-Pruning (Fang et al. 2023), so there is no code per architecture. Channels that it cannot follow, such as
those before a pixel shuffle, keep their places; that the images are the same is checked.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.errors import ConfigError
from models.elastic import Elastic

Place = tuple[str, int]
"""Name of a parameter or buffer, and one of its dimensions."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of several tensors that belong together: channel i of one is channel i of all."""

    positions: dict[Place, list[list[int]]]
    """For each tensor dimension, where in it each of the group's channels lies; several places after a flattening."""
    makers: tuple[Place, ...]
    """The convolutions' output dimensions among them."""
    channels: int


@torch.no_grad()
def initialise_from_teacher_(supernet: Elastic, teacher: nn.Module, example: Tensor) -> None:
    """Give the widest network of `supernet` the teacher's weights, the most important channels of each layer first.

    Where the widest network is as wide as the teacher it draws the same images; where it is narrower it is the teacher
    with its least important channels cut off.

    Args:
        supernet: its widest network must be of the teacher's architecture, and nowhere wider.
        teacher: left as it is.
        example: one input of the teacher (1, …), by which its layers are traced.

    Raises:
        ConfigError: if the two are of different architectures, the supernet is wider somewhere, or channels cannot be
            followed through the network; names the tensor.
    """
    widest = supernet.widest
    _check_fits(widest, teacher)
    groups, narrow_groups = channel_groups(teacher, example), channel_groups(widest, example)
    state = {name: tensor.detach().clone() for name, tensor in teacher.state_dict().items()}
    indices: dict[Place, list[tuple[int, list[int]]]] = {}
    for group, narrow in zip(groups, narrow_groups, strict=True):
        best = importance(group, state).argsort(descending=True, stable=True)[: narrow.channels].tolist()
        for place, positions in group.positions.items():
            piece = [position for channel in best for position in positions[channel]]
            indices.setdefault(place, []).append((min(min(each) for each in positions), piece))
    for (name, dimension), pieces in indices.items():
        order = [index for _, piece in sorted(pieces) for index in piece]
        state[name] = state[name].index_select(dimension, torch.tensor(order, device=state[name].device))
    for name, tensor in widest.state_dict().items():
        if tensor.shape != state[name].shape:
            raise ConfigError(
                f"the channels of '{name}' cannot be followed through the teacher, so the least important ones cannot "
                "be cut off; let supernet.widths reach the teacher's own, or set supernet.initial to 'random'"
            )
    widest.load_state_dict(state)
    if all(tensor.shape == state[name].shape for name, tensor in teacher.state_dict().items()):
        _check_images(widest, teacher, example)


def importance(group: ChannelGroup, state: dict[str, Tensor]) -> Tensor:
    """L1 norm (channels,) of the filters that make each channel, summed over the layers whose outputs are added."""
    total = torch.zeros(group.channels)
    for name, dimension in group.makers:
        norms = state[name].abs().movedim(dimension, 0).flatten(1).sum(1).cpu()
        total += torch.stack([norms[positions].sum() for positions in group.positions[name, dimension]])
    return total


def channel_groups(network: nn.Module, example: Tensor) -> list[ChannelGroup]:
    """Find the groups of channels that can be put in another order without changing the images.

    Raises:
        ConfigError: if a layer's channels cannot be told apart, such as those of a grouped convolution.
    """
    import torch_pruning

    twin = copy.deepcopy(network).eval().requires_grad_(True)
    with torch.enable_grad():
        # Plus 0: the output is then an operation of its own, by which its channels are known.
        graph = torch_pruning.DependencyGraph().build_dependency(
            twin, example, forward_fn=lambda network, x: network(x) + 0, verbose=False
        )
    parameters = dict(graph.unwrapped_parameters)
    names = {parameter: name for name, parameter in twin.named_parameters()}
    names |= {module: name for name, module in twin.named_modules()}
    roots = [nn.Conv2d, nn.ConvTranspose2d, nn.Linear]
    found = []
    for items in graph.get_all_groups(root_module_types=roots):
        if all(dep.target.type != torch_pruning.ops.OPTYPE.OUTPUT for dep, _ in items):
            group = _group(graph, items, names, parameters)
            if _is_followed(group, twin):
                found.append(group)
    return found


def _is_followed(group: ChannelGroup, network: nn.Module) -> bool:
    """Whether the positions exist and are all that the makers have, which they are not at a pixel shuffle."""
    tensors = network.state_dict()
    for (name, dimension), positions in group.positions.items():
        held, size = [position for each in positions for position in each], tensors[name].shape[dimension]
        if max(held) >= size or ((name, dimension) in group.makers and len(held) != size):
            return False
    return True


def _group(graph: Any, items: Any, names: dict[Any, str], parameters: dict[Any, int]) -> ChannelGroup:
    channels = len(items[0].idxs)
    positions: dict[Place, list[list[int]]] = {}
    makers: list[Place] = []
    for item in items:
        dep = item.dep
        module, reads = dep.target.module, graph.is_in_channel_pruning_fn(dep.handler)
        dimensions = [(names[module], parameters[module])] if isinstance(module, nn.Parameter) else []
        if isinstance(module, nn.Module) and module in names:
            dimensions = [(f"{names[module]}.{own}", dim) for own, dim in _dimensions(module, reads, names[module])]
        for place in dimensions:
            own = positions.setdefault(place, [[] for _ in range(channels)])
            for channel, position in zip(item.root_idxs, item.idxs, strict=True):
                own[channel].append(position)
        depthwise = isinstance(module, nn.Conv2d) and module.groups > 1
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and not reads and not depthwise:
            makers.append(dimensions[0])
    return ChannelGroup(positions, tuple(makers), channels)


def _dimensions(module: nn.Module, reads: bool, name: str) -> Iterator[tuple[str, int]]:
    """The module's tensors that have one entry a channel, and in which dimension; the weight first."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        groups = 1 if isinstance(module, nn.Linear) else module.groups
        if groups > 1 and groups != module.weight.shape[0]:
            raise ConfigError(
                f"layer '{name}' is a convolution in {groups} groups, whose channels cannot be reordered; "
                "set supernet.initial to 'random'"
            )
        if groups > 1:
            reads = False
        first = reads == isinstance(module, nn.ConvTranspose2d) or groups > 1
        yield "weight", 0 if first else 1
        if not reads and module.bias is not None:
            yield "bias", 0
        return
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    yield from ((own, 0) for own, tensor in tensors if tensor.dim() == 1 and len(tensor) > 1)


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


def _check_images(widest: nn.Module, teacher: nn.Module, example: Tensor) -> None:
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
