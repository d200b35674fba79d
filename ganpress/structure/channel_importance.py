"""Orders a network's channels by importance, because narrow versions keep the first ones.

The importance of a channel is the change of the network's output without it, to first order: at the inputs of the
layers that read it, the sum over pixels of value times gradient (Molchanov et al. 2019, *Importance Estimation for
Neural Network Pruning*, equation 8). A generator has no loss of its own here. The gradient is that of random
projections of its output, whose mean square is the squared length of the change. Channels are then put in descending
order, which changes no output: every layer that makes, scales or reads a channel is permuted alike.
"""

import copy
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.basics.seeding import torch_generator
from ganpress.structure.dependency_graph import Run, run_plainly
from models.thinning import ChannelGroup, permute_

MOST_INPUTS, FEWEST_INPUTS = 256, 4
INPUT_VALUES = 2**20
"""Largest number of values in all inputs, so that the measurement takes seconds even for large pictures."""
SPREAD = 0.5
"""Approximate standard deviation of pictures in [-1, 1]."""
RELATIVE_TOLERANCE = 1e-4
"""Tolerance relative to the largest value, because sums in another order are rounded differently."""


def unit_scores(
    network: nn.Module, inputs: Tensor, groups: Sequence[ChannelGroup], seed: int = 0, run: Run = run_plainly
) -> dict[str, Tensor]:
    """Return the importance (n,) of the units of each group, by name; groups that no layer reads are left out.

    Args:
        network: in eval mode; not changed.
        inputs: inputs (N, …) to measure on.
        groups: its channel groups.
        seed: of the projections.
        run: (network, inputs) -> images.
    """
    traced = copy.deepcopy(network).eval().requires_grad_(False)
    seen: dict[str, list[Tensor]] = defaultdict(list)

    def keep(name: str) -> None:
        def hook(_layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            value = given[0] if given[0].requires_grad else given[0].detach().requires_grad_()
            value = value.clone()
            value.retain_grad()
            seen[name].append(value)
            return (value, *given[1:])

        traced.get_submodule(name).register_forward_pre_hook(hook)

    readers = {slot.layer for group in groups for slot in group.slots if slot.side == "in"}
    if not readers:
        return {}
    for name in readers:
        keep(name)
    random = torch_generator(seed, "importance")
    totals = {group.name: torch.zeros(group.units) for group in groups}
    images = run(traced, inputs)
    for last in (False, True):
        signs = torch.randint(0, 2, images.shape, generator=random) * 2.0 - 1
        torch.autograd.backward((images * signs).sum(), retain_graph=not last)
        changes = {name: _changes_(values) for name, values in seen.items()}
        for group in groups:
            per_input = torch.zeros(len(inputs), group.units)
            for slot in group.slots:
                if slot.side == "in" and slot.layer in changes:
                    found = changes[slot.layer][:, slot.offset : slot.offset + group.units * slot.block]
                    per_input += found.reshape(len(inputs), group.units, slot.block).sum(2)
            totals[group.name] += per_input.square().mean(0)
    read = {group.name for group in groups if any(slot.side == "in" for slot in group.slots)}
    return {name: total for name, total in totals.items() if name in read}


def _changes_(values: Sequence[Tensor]) -> Tensor:
    """Sum over pixels of value times gradient (N, C), over all calls of a layer; the gradients are forgotten."""
    parts = [value.detach() * value.grad for value in values if value.grad is not None]
    for value in values:
        value.grad = None
    return torch.stack([part.flatten(2).sum(2) if part.dim() > 2 else part for part in parts]).sum(0)


def trial_inputs(example: Tensor, seed: int = 0) -> Tensor:
    """Return inputs (N, …) for the measurement if no others are known: latents, or noise with a spectrum like a
    picture's.

    Args:
        example: one input (1, …).
        seed: of the noise.
    """
    random = torch_generator(seed, "importance inputs")
    count = max(FEWEST_INPUTS, min(MOST_INPUTS, INPUT_VALUES // example.numel()))
    if example.dim() != 4:
        return torch.randn(count, *example.shape[1:], generator=random)
    _, channels, height, width = example.shape
    total = torch.zeros(count, channels, height, width)
    for level in range(max(height, width).bit_length()):
        size = (-(-height // 2**level), -(-width // 2**level))
        noise = torch.randn(count, channels, *size, generator=random)
        total += functional.interpolate(noise, (height, width), mode="bilinear", align_corners=False)
    return (total / total.std()).mul(SPREAD).clamp(-1, 1)


@torch.no_grad()
def put_in_order_(
    network: nn.Module, inputs: Tensor, groups: Sequence[ChannelGroup], seed: int = 0, run: Run = run_plainly
) -> list[str]:
    """Permute the channels of each group by descending importance; the output of the network does not change.

    A group whose permutation would change the output (an operation that tells its channels apart by their places) keeps
    its order.

    Args:
        network: changed in place.
        inputs: inputs (N, …) to measure on.
        groups: its channel groups.
        seed: of the projections.
        run: (network, inputs) -> images.

    Returns:
        Names of the groups that were put in order.
    """
    with torch.enable_grad():
        scores = unit_scores(network, inputs, groups, seed, run)
    before = run(network, inputs)
    tolerance = RELATIVE_TOLERANCE * float(before.abs().max())
    ordered = []
    for group in groups:
        score = scores.get(group.name)
        if score is None or not torch.isfinite(score).all():
            continue
        order = score.argsort(descending=True, stable=True)
        if torch.equal(order, torch.arange(group.units)):
            continue
        permute_(network, group, order)
        if torch.allclose(run(network, inputs), before, rtol=0, atol=tolerance):
            ordered.append(group.name)
        else:
            permute_(network, group, order.argsort())
    return ordered
