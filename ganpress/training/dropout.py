"""Dropout whose masks come from a training's own random stream, so that a resumed training draws the same ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Real
from torch import Tensor, nn

from ganpress.basics.ranks import seed_words
from ganpress.basics.seeding import seeded_initialisation


class DropoutStream:
    """Lends torch's global generator, which dropout draws from, a seed out of `random`.

    A network without active dropout neither draws from `random` nor touches the global generator.
    """

    def __init__(self, network: nn.Module, random: torch.Generator) -> None:
        dropouts = (module for module in network.modules() if isinstance(module, nn.modules.dropout._DropoutNd))
        self._active = any(module.p > 0 for module in dropouts)
        self._random = random

    def draw(self, stream: torch.Generator) -> Real[Tensor, ""]:
        """Draw the seed of one block; nothing without active dropout."""
        return torch.randint(2**62, (), generator=stream) if self._active else torch.zeros(())

    @contextmanager
    def step(self) -> Iterator[None]:
        """Let dropout draw inside the block from a seed of its own; another one each time."""
        if not self._active:
            yield
            return
        seed = int(self.draw(self._random))
        with seeded_initialisation(seed, "dropout", *seed_words()):  # no two ranks drop the same values of their rows
            yield
