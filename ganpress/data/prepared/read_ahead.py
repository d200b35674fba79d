"""Reads the next batch in a thread while a step runs, without changing the sequence of random numbers.

The next rows are predicted by drawing from a copy of the stream. The stream itself decides: if it differs, the batch
is read again, so that a wrong prediction costs time but never changes a result.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

BatchT = TypeVar("BatchT", Tensor, tuple[Tensor, Tensor])


@dataclass(frozen=True)
class Ahead:
    """Settings for reading the next batch while a step runs."""

    rest: Callable[[torch.Generator], object]
    """Function that draws from a stream what a step draws from it between two batches."""
    pinned: bool = True
    """Whether to put the batch into pinned memory, from which a GPU copies it while it computes."""


def ahead_for(device: torch.device, rest: Callable[[torch.Generator], object]) -> Ahead | None:
    """Return the settings: read ahead only for GPUs, because on the CPU a reading thread would slow the step down."""
    return Ahead(rest) if device.type == "cuda" else None


def batches(
    random: torch.Generator,
    draw: Callable[[torch.Generator], tuple[Tensor, ...]],
    read: Callable[..., BatchT],
    ahead: Ahead | None,
) -> Iterator[BatchT]:
    """Yield endless batches `read(*draw(random))`; with `ahead` the next one is read before it is asked for."""
    if ahead is None:
        while True:
            yield read(*draw(random))
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        guessed: tuple[Tensor, ...] = ()
        coming: Future[BatchT] | None = None
        while True:
            drawn = draw(random)
            right = coming is not None and all(map(torch.equal, drawn, guessed))
            batch = coming.result() if coming is not None and right else read(*drawn)
            guessed = _next_draw(random, draw, ahead)
            coming = reader.submit(_read, read, guessed, ahead.pinned)
            yield batch


def _next_draw(
    random: torch.Generator, draw: Callable[[torch.Generator], tuple[Tensor, ...]], ahead: Ahead
) -> tuple[Tensor, ...]:
    copy = random.clone_state()
    ahead.rest(copy)
    return draw(copy)


def _read(read: Callable[..., BatchT], rows: tuple[Tensor, ...], pinned: bool) -> BatchT:
    batch = read(*rows)
    if not pinned:
        return batch
    return batch.pin_memory() if isinstance(batch, Tensor) else (batch[0].pin_memory(), batch[1].pin_memory())
