"""Outlier channel splitting: input channels with the largest weights are read twice with half the weight.

The layer computes the same, but its largest weight, which sets the step of all codes, is halved (Zhao et al. 2019,
"Improving neural network quantization without retraining using outlier channel splitting", section 3).

Shapes: O outputs, I input channels, J = I + splits channels after splitting.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ganpress.errors import ConfigError

ROUNDING = 1e-9
"""Tolerance for the float error of a share times a number of channels."""


@dataclass(frozen=True)
class SplitWeight:
    """A weight that reads some channels twice: conv(x, weight) = conv(x[:, channels], split weight)."""

    weight: Tensor
    """Split weight (O, J, …)."""
    channels: Tensor
    """Input channel of each of the J channels, int64 (J,)."""


def split_outliers(
    weight: Float[Tensor, "o i ..."], share: float, step: Float[Tensor, " o"] | float = 0.0, per_channel: bool = False
) -> SplitWeight:
    """Repeatedly split the channel that increases the quantization steps most.

    With one scale for all weights that is the channel of the largest weight, as published. With a scale for each output
    channel, it is the channel whose splitting reduces the sum of squared scales most, to which the power of the
    rounding errors is proportional.

    Args:
        weight: weight of a layer without groups.
        share: share of input channels; ceil(share I) splits are made, and a channel may be split several times.
        step: quantization step of each output's weights, or one for all; halves are moved apart by half a step, so that
            the sum of the rounded halves is nearest to the whole weight ("quantization-aware" splitting, equation 5 of
            the paper). 0 gives exact halves.
        per_channel: whether each output channel will have its own scale.

    Raises:
        ConfigError: if the share is not at least 0 and below 1.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"share of split channels is at least 0 and below 1, found {share}")
    if isinstance(step, Tensor):
        step = step.view(-1, *(1,) * (weight.dim() - 2))
    columns = list(weight.unbind(1))
    channels = list(range(len(columns)))
    for _ in range(math.ceil(share * len(columns) - ROUNDING)):
        widest = _widest(torch.stack(columns, 1), per_channel)
        half = columns[widest] / 2
        columns[widest] = half - step / 4
        columns.append(half + step / 4)
        channels.append(channels[widest])
    return SplitWeight(torch.stack(columns, 1), torch.tensor(channels))


def _widest(weight: Float[Tensor, "o j ..."], per_channel: bool) -> int:
    """Return the column to split next."""
    reach = weight.abs().flatten(2).amax(2) if weight.dim() > 2 else weight.abs()  # (O, J)
    if not per_channel or reach.shape[1] == 1:
        return int(reach.amax(0).argmax())
    (largest, second), places = reach.topk(2, 1).values.unbind(1), reach.argmax(1)
    gain = largest.square() - torch.maximum(largest / 2, second).square()
    gains = torch.zeros(reach.shape[1], dtype=reach.dtype).index_add(0, places, gain)
    return int(gains.argmax()) if bool(gains.any()) else int(reach.amax(0).argmax())
