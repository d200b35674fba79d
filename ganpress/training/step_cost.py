"""Counts what one training step needs, without computing it: operations, and the peak memory of its tensors.

The real trainers run, on torch's `meta` device, whose tensors have shapes and no values. So what is counted is what
trains: forward and backward passes of generators, discriminators and teacher, optimizers, averages.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ganpress.performance.generator_cost import OperatorCount
from ganpress.training.loop import CurvePoint, Length, Losses, TrainingRun

META = torch.device("meta")


@dataclass(frozen=True)
class StepCost:
    """Cost of one step of a training, mean and largest over the steps that were counted."""

    flops_per_image: float
    """Floating-point operations for each image shown: two for each multiply-accumulate of convolutions and products."""
    peak_bytes: int
    """Most bytes that the tensors of one device held at once: weights, gradients, optimizer state, averages,
    activations. What an allocator or a convolution's algorithm takes beyond tensors is not in it."""


def step_cost(train: Callable[[TrainingRun], object], steps: int = 1, device: torch.device = META) -> StepCost:
    """Count steps of a training.

    Args:
        train: builds the networks on `device` and calls a trainer with the run that it is given; nothing behind the
            training's steps is executed.
        steps: steps whose operations are averaged, for trainings that draw what a step computes. One more goes before
            them, in which optimizers make their state.
        device: where the networks are; `meta` computes nothing.

    Raises:
        ValueError: if `train` calls no trainer.
    """
    run = _CountedRun(1, "cost", steps=steps)
    with TensorBytes(device) as held:
        try:
            train(run)
        except _Counted:
            return StepCost(run.counts.flops / run.counts.images, held.peak)
    raise ValueError("nothing was trained, so there is no step to count")


class _Counted(Exception):
    """Ends a trainer once its steps are counted."""


@dataclass
class _Counts:
    flops: int = 0
    images: int = 0


@dataclass(frozen=True)
class _CountedRun(TrainingRun):
    """A run whose training is a few steps, counted."""

    steps: int = 1
    counts: _Counts = field(default_factory=_Counts)

    def train(
        self,
        network: nn.Module,  # noqa: ARG002 (the arguments of `TrainingRun.train`)
        step: Callable[[int], Losses],
        state: Any,  # noqa: ARG002
        config: Length,
        images_per_step: int | None = None,
    ) -> list[CurvePoint]:
        """Take one step, count the next ones, and end the trainer.

        Raises:
            _Counted: always.
        """
        shown = images_per_step or config.batch_size
        step(0)
        with OperatorCount() as operators:
            for number in range(1, self.steps + 1):
                step(number * shown)
        self.counts.flops, self.counts.images = operators.exact_flops, self.steps * shown
        raise _Counted


class TensorBytes(TorchDispatchMode):
    """Follows the memory of all tensors of one device that are made inside it: `now`, and the `peak` of it."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._kind = device.type
        self._held: set[int] = set()
        self.now = self.peak = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; without this the first use imports the compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and follow what it makes, as long as it lives."""
        result = func(*args, **(kwargs or {}))
        for one in tree_iter(result):
            if isinstance(one, Tensor) and one.device.type == self._kind:
                self._follow(one.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        """Count a storage once, until it is freed: views share it."""
        place = storage._cdata
        if place in self._held:
            return
        self._held.add(place)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, place, storage.nbytes())

    def _forget(self, place: int, freed: int) -> None:
        self._held.discard(place)
        self.now -= freed
