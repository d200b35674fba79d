"""Magnitude pruning: the smallest weights of each layer become zero."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganpress.errors import ConfigError


@dataclass(frozen=True)
class LayerSparsity:
    """Number of zero weights of one layer."""

    layer: str
    """Dotted name of the weight tensor."""
    weights: int
    zeros: int

    @property
    def sparsity(self) -> float:
        """Share of weights that are zero."""
        return self.zeros / self.weights


@torch.no_grad()
def prune_(model: nn.Module, sparsity: float) -> None:
    """Set the `sparsity` share of smallest weights of each convolution and linear layer to zero, in place.

    Exactly round(sparsity * weights) weights of a layer are chosen by |w|; among equal ones the first. Biases and
    normalisation statistics are not pruned, because they are few.

    Args:
        model: any network of convolutions and linear layers.
        sparsity: in [0, 1).

    Raises:
        ConfigError: if `sparsity` is outside [0, 1), or the model has no layer that could be pruned.
    """
    if not 0 <= sparsity < 1:
        raise ConfigError(f"sparsity must be at least 0 and below 1, found {sparsity}")
    weights = prunable_weights(model)
    if not weights:
        raise ConfigError(f"{type(model).__name__} has no convolution or linear layer to prune")
    for weight in weights.values():
        smallest_first = weight.abs().flatten().argsort(stable=True)
        weight.view(-1)[smallest_first[: round(sparsity * weight.numel())]] = 0


def measure_sparsity(model: nn.Module) -> tuple[LayerSparsity, ...]:
    """Count the zeros of every layer's weight, including quantized layers."""
    return tuple(
        LayerSparsity(name, tensor.numel(), int((tensor == 0).sum()))
        for name, tensor in model.state_dict().items()
        if name.rpartition(".")[2] == "weight" and tensor.dim() > 1
    )


def prunable_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of all convolutions and linear layers by dotted name."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    return {f"{name}.weight": module.weight for name, module in model.named_modules() if isinstance(module, kinds)}
