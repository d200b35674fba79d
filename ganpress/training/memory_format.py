"""Which memory format a network trains fastest in."""

import torch
from torch import nn


def fastest_memory_format(network: nn.Module) -> torch.memory_format:
    """Channels last for networks with batch norm, contiguous for all others.

    Convolutions and batch norm run natively in channels last; instance norm copies its input to contiguous and back.
    Measured on a CPU, one thread, forward and backward: SPADE at 64x64 is 1.05 to 1.7 times as fast in channels last,
    the ResNet generator, with instance norm, takes 0 to 25 % longer.
    """
    has_batch_norm = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    return torch.channels_last if has_batch_norm else torch.contiguous_format
