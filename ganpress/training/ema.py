"""Exponential moving average of generator weights, and the normalisation statistics that belong to it."""

import copy
from collections.abc import Iterable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class WeightAverage:
    """Moving average of a module's parameters, with a half-life in images shown.

    Early on the half-life is at most a tenth of the images shown, so that the random start is forgotten
    (Karras et al. 2022, the "EMA ramp-up"). A half-life of 0 keeps the module's own weights. By hand, because torch's
    `AveragedModel` tells its averaging function only the number of updates, not the images shown.
    """

    def __init__(self, module: nn.Module, half_life_images: int) -> None:
        self._source = list(module.parameters())
        self._half_life = half_life_images
        self.average: list[Tensor] = [parameter.detach().clone() for parameter in self._source]

    @torch.no_grad()
    def update(self, images_shown: int, batch_size: int) -> None:
        """Move the average towards the weights after a step of `batch_size` images."""
        half_life = min(self._half_life, images_shown / 10)
        weight = 1 - 0.5 ** (batch_size / half_life) if half_life > 0 else 1.0
        torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self._source], weight)

    def averaged(self, module: ModuleT) -> ModuleT:
        """Return a copy of `module` that carries the average; its normalisation statistics are still the old ones."""
        twin = copy.deepcopy(module)
        with torch.no_grad():
            for parameter, average in zip(twin.parameters(), self.average, strict=True):
                parameter.copy_(average)
        return twin

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        for own, saved in zip(self.average, state["average"], strict=True):
            own.copy_(saved)


@torch.no_grad()
def recalibrate_batch_norm_(
    generator: nn.Module, inputs: Float[Tensor, "n ..."] | Iterable[Float[Tensor, "_ ..."]], batch_size: int = 250
) -> nn.Module:
    """Replace every batch norm's running statistics by those measured on `inputs`; leaves eval mode on.

    Averaged weights never ran forward in training, so the statistics gathered there are not theirs. Each layer is
    measured with the layers before it in training mode, batch by batch, as a plain mean over batches. torch's
    `update_bn` does this with dropout switched on, which would blur what is measured.

    Args:
        generator: changed in place; one without batch norm is only put into eval mode, and no input is read.
        inputs: what the generator reads, latents, images or one-hot label maps: one tensor, or batches one by one.
        batch_size: into which one tensor is split.
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return generator.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    generator.eval()
    for norm in norms:
        norm.train()
    for batch in inputs.split(batch_size) if isinstance(inputs, Tensor) else inputs:
        if len(batch) > 1:
            generator(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return generator.eval()
