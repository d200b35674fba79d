"""Outlier channel splitting: input channels with the largest weights are read twice, at half the weight.

The layer computes the same, but its largest weight, which sets the step of all codes, is halved (Zhao et al. 2019,
"Improving neural network quantization without retraining using outlier channel splitting", section 3).

Shapes: O outputs, I input channels, J = I + splits channels after splitting.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganpress.errors import ConfigError


@dataclass(frozen=True)
class SplitWeight:
    """A weight that reads some channels twice: conv(x, weight) = conv(x[:, channels], split weight)."""

    weight: Tensor
    """(O, J, …)."""
    channels: Tensor
    """Input channel that each of J is, int64 (J,)."""


def split_outliers(weight: Tensor, share: float, step: float = 0.0) -> SplitWeight:
    """Split the channel that holds the largest weight, again and again.

    Args:
        weight: (O, I, …) of a layer without groups.
        share: of input channels; ceil(share I) splits are made, and a channel may be split several times.
        step: of the codes that the weight will be rounded to; halves are moved apart by half a step, so that the two
            round to codes whose sum is the nearest to the whole weight ("quantization-aware" splitting, equation 5 of
            the paper). 0 gives exact halves.

    Raises:
        ConfigError: if the share is not at least 0 and below 1.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"share of split channels is at least 0 and below 1, found {share}")
    columns = list(weight.unbind(1))
    channels = list(range(len(columns)))
    for _ in range(-int(-share * len(columns) // 1)):
        largest = max(range(len(columns)), key=lambda place: float(columns[place].abs().amax()))
        half = columns[largest] / 2
        columns[largest] = half - step / 4
        columns.append(half + step / 4)
        channels.append(channels[largest])
    return SplitWeight(torch.stack(columns, 1), torch.tensor(channels))
