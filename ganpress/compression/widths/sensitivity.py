"""Measures how much the quantization of each layer changes the images, and which layers should stay in floats.

One layer at a time is replaced by its quantized form in a float generator. The noise of several layers is about the sum
of their own noise, because rounding errors of different layers are nearly independent; `choose_float_layers` uses that
for its order and then measures its choice.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.metrics.fidelity import compare_outputs
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork

logger = logging.getLogger(__name__)

STEPS = 20_000
"""Resolution of the knapsack problem: rounding costs up wastes at most layers / STEPS of the budget."""


@dataclass(frozen=True)
class LayerSensitivity:
    """Change of the images if only one layer is quantized."""

    layer: str
    macs: int
    """Multiplications for one input."""
    noise: float
    """Power of the images' change as a share of their power."""

    @property
    def harm(self) -> float:
        """Noise per multiplication; the layers with the largest values return to floats first."""
        return self.noise / self.macs


def scan_layers(
    plain: QuantizedNetwork, rounded: Mapping[str, QuantizedConv], inputs: Float[Tensor, "n ..."]
) -> tuple[LayerSensitivity, ...]:
    """Measure every layer alone.

    Args:
        plain: the generator with float layers; it is not changed.
        rounded: each layer's quantized form by name.
        inputs: inputs for both.
    """
    macs = _count_macs(plain, inputs[:1])
    images = plain(inputs)
    return tuple(
        LayerSensitivity(name, macs[name], noise_with(plain, {name: layer}, inputs, images))
        for name, layer in rounded.items()
    )


def choose_float_layers(
    plain: QuantizedNetwork,
    rounded: Mapping[str, QuantizedConv],
    sensitivities: Sequence[LayerSensitivity],
    inputs: Float[Tensor, "n ..."],
    min_snr_db: float,
) -> tuple[str, ...]:
    """Find the layers that must stay in floats for images within `min_snr_db` of the float generator's.

    Layers with the largest noise per multiplication are chosen first, until the sum of the remaining noise meets the
    goal; then further layers one by one until the measurement meets it.

    Returns:
        Names in the order of decision; in the worst case all layers.
    """
    images = plain(inputs)
    goal, rest = 10 ** (-min_snr_db / 10), sorted(sensitivities, key=lambda one: one.harm, reverse=True)
    chosen: list[str] = []
    while rest and sum(one.noise for one in rest) > goal:
        chosen.append(rest.pop(0).layer)
    while rest:
        kept = {one.layer: rounded[one.layer] for one in rest}
        noise = noise_with(plain, kept, inputs, images)
        logger.info("%d layers in floats: noise %.2g of %.2g allowed", len(chosen), noise, goal)
        if noise <= goal:
            break
        chosen.append(rest.pop(0).layer)
    return tuple(chosen)


def choose_bits(
    noise: Mapping[str, Mapping[int, float]], costs: Mapping[str, Mapping[int, int]], budget: int
) -> dict[str, int]:
    """Choose the width of each layer's weights for the least sum of noise within a budget.

    The multiple-choice knapsack problem, solved by dynamic programming over the budget in `STEPS` steps, to which costs
    are rounded up. A greedy choice by noise per bit is worse for large layers, because small ones have already used the
    budget for the step that matters most.

    Args:
        noise: noise of each layer alone, for each width.
        costs: cost of each layer at each width, in the budget's unit: bits or bytes.
        budget: budget of all layers together.

    Returns:
        Width of each layer; the smallest width everywhere if the budget is below that.
    """
    fewest = {name: min(widths) for name, widths in noise.items()}
    spare = budget - sum(costs[name][bits] for name, bits in fewest.items())
    if spare <= 0:
        return fewest
    unit = max(1.0, spare / STEPS)
    least = np.zeros(int(spare / unit) + 1)  # sum of noise of the layers so far, for each part of the budget
    choices: list[tuple[str, NDArray[np.int64]]] = []
    for name, widths in noise.items():
        options = {bits: math.ceil(max(0, costs[name][bits] - costs[name][fewest[name]]) / unit) for bits in widths}
        table = np.full((len(options), len(least)), np.inf)
        for row, (bits, more) in enumerate(options.items()):
            if more < len(least):
                table[row, more:] = least[: len(least) - more] + widths[bits]
        choices.append((name, table.argmin(0)))
        least = table.min(0)
    chosen, left = {}, len(least) - 1
    for name, best in reversed(choices):
        bits = list(noise[name])[int(best[left])]
        chosen[name] = bits
        left -= math.ceil(max(0, costs[name][bits] - costs[name][fewest[name]]) / unit)
    return {name: chosen[name] for name in noise}


def noise_with(
    plain: QuantizedNetwork,
    layers: Mapping[str, QuantizedConv],
    inputs: Float[Tensor, "n ..."],
    images: Float[Tensor, "n c h w"],
) -> float:
    """Measure what some rounded layers together do to the images.

    Args:
        plain: the generator with layers of floats; it is left as it is.
        layers: rounded form by name; the other layers stay in floats.
        inputs: what the generator runs on.
        images: its images of these inputs in floats.

    Returns:
        Power of the images' change as a share of their power.
    """
    own = {name: plain.quantized_layer(name) for name in layers}
    try:
        for name, layer in layers.items():
            plain.put(name, layer)
        snr_db = compare_outputs(lambda _: images, lambda _: plain(inputs), inputs[:1]).snr_db
    finally:
        for name, layer in own.items():
            plain.put(name, layer)
    return 0.0 if snr_db is None else float(10 ** (-snr_db / 10))


def _count_macs(plain: QuantizedNetwork, example: Float[Tensor, "n ..."]) -> dict[str, int]:
    """Return the multiplications of each layer, as a plain convolution, for one input."""
    counts = dict.fromkeys(plain.layers, 0)

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        of_output = plain.quantized_layer(name).weight[0].numel()
        return lambda *seen: counts.update({name: of_output * seen[2].numel()})

    handles = [plain.quantized_layer(name).register_forward_hook(hook(name)) for name in plain.layers]
    try:
        with torch.no_grad():
            plain(example)
    finally:
        for handle in handles:
            handle.remove()
    return counts
