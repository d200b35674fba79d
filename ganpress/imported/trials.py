"""Tests whether a channel group can be removed: compares the pruned network with the full one.

A pruned network must compute the same as the full one when every layer that reads the removed channels gets zeros for
them. This holds for any weights, so random ones are used: in a trained network, weights near zero may hide an error; a
normalisation over all channels must then count those that stay alone. It finds errors that no graph shows: sizes
written into the code, channels mixed by operations without weights (a softmax over channels, a mean), channels in
another order than was thought.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.basics.seeding import torch_generator
from ganpress.structure.channel_groups import FoundGroups, Refusal
from ganpress.structure.dependency_graph import Run, run_plainly
from models.imported_generator import one_line
from models.thinning import ChannelGroup, axes, count_channels, kept_channels, thin_

PERCENT = 50
RELATIVE_TOLERANCE = 1e-3
"""Tolerance relative to the largest value, because sums over fewer channels are rounded differently."""


def try_groups(
    network: nn.Module, example: Tensor, found: FoundGroups, seed: int = 0, run: Run = run_plainly
) -> FoundGroups:
    """Keep the groups that can be pruned together with those before them; refuse the others with reasons."""
    trial = _randomised(network, seed)
    x = torch.rand(example.shape, generator=torch_generator(seed, "import-input")) * 2 - 1
    accepted: list[ChannelGroup] = []
    refused: list[Refusal] = list(found.refused)
    for group in found.groups:
        reason = _failure(trial, x, [*accepted, group], run)
        if reason is None:
            accepted.append(group)
        else:
            refused.append(Refusal(group.name, reason))
    place = {name: number for number, (name, _) in enumerate(network.named_modules())}
    return FoundGroups(tuple(accepted), tuple(sorted(refused, key=lambda refusal: place[refusal.layer])))


@torch.no_grad()
def _randomised(network: nn.Module, seed: int) -> nn.Module:
    """A copy with random weights that keep the scale of what passes through."""
    made = copy.deepcopy(network).eval()
    generator = torch_generator(seed, "import-weights")
    for tensor in (*made.parameters(), *made.buffers()):
        if not tensor.is_floating_point():
            continue
        if tensor.dim() > 1:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (len(tensor) / tensor.numel()) ** 0.5)
        else:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return made


@torch.no_grad()
def _failure(network: nn.Module, x: Tensor, groups: Sequence[ChannelGroup], run: Run) -> str | None:
    """Return why the last of `groups` cannot be pruned together with the others; None if it can."""
    percents = [PERCENT] * len(groups)
    thin = copy.deepcopy(network)
    thin_(thin, groups, percents)
    expected = run(_masked(network, groups, percents), x)
    try:
        images = run(thin, x)
    except Exception as error:
        return f"the network does not run without half of its channels ({one_line(error)})"
    if images.shape != expected.shape:
        return f"without half of its channels the output is {tuple(images.shape)}, not {tuple(expected.shape)}"
    scale = float(expected.abs().max())
    if not torch.allclose(images, expected, rtol=0, atol=RELATIVE_TOLERANCE * scale):
        return "an operation without weights mixes its channels: without half of them the others' values change"
    return None


def _masked(network: nn.Module, groups: Sequence[ChannelGroup], percents: Sequence[int]) -> nn.Module:
    """A copy of full width whose layers read zeros for the removed channels."""
    made = copy.deepcopy(network)
    layers = dict(made.named_modules())
    for (name, side), index in kept_channels(network, groups, percents).items():
        if side == "in":
            layer = made.get_submodule(name)
            removed = torch.ones(count_channels(layer, "in"), dtype=torch.bool)
            removed[index] = False
            weight = layer.get_parameter("weight")
            weight.index_fill_(axes(layer)["weight"].index("in"), removed.nonzero().flatten(), 0.0)
        elif name in layers and isinstance(layer := layers[name], nn.GroupNorm) and layer.num_groups == 1:
            made.set_submodule(name, _NormOfKept(layer, index))
    return made


class _NormOfKept(nn.Module):
    """A normalisation over all channels that counts those that stay alone; zeros for the others."""

    def __init__(self, norm: nn.GroupNorm, index: Tensor) -> None:
        super().__init__()
        self._norm, self._index = norm, index

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (one[self._index] if self._norm.affine else None for one in (self._norm.weight, self._norm.bias))
        normed = functional.group_norm(x.index_select(1, self._index), 1, weight, bias, self._norm.eps)
        return torch.zeros_like(x).index_copy(1, self._index, normed)
