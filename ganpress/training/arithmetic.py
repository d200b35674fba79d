"""How a training computes its networks: precision and memory layout."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Arithmetic:
    """Moves results by rounding only: weights, losses and optimizers stay float32."""

    bf16: bool = False
    """Convolutions in bfloat16, by torch's autocast."""
    channels_last: bool = False
    """Activations with channels innermost, which suits tensor cores; on CPUs instance normalisation pays for it."""

    @property
    def memory_format(self) -> torch.memory_format:
        """Of the images (N, C, H, W) that a network reads."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context of a forward pass; the backward pass goes outside, in the precision that the forward pass chose."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.bf16)

    def lay_out_(self, *networks: nn.Module | None) -> None:
        """Put the weights of convolutions into the memory layout."""
        if self.channels_last:
            for network in networks:
                if network is not None:
                    network.to(memory_format=torch.channels_last)


FLOAT32 = Arithmetic()
