"""Reading of the next batch in a thread while a step runs, without another draw of any random number.

Which rows come next is found by drawing from a copy of the stream. The stream itself decides: where it says otherwise,
the batch is read again, so that a wrong guess costs time and never a result.
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
    """How a trainer wants its next batch read while a step runs."""

    rest: Callable[[torch.Generator], object]
    """Draws from a stream what a step draws from it between two batches."""
    pinned: bool = True
    """Whether to leave the batch in pinned memory, from where a GPU fetches it while it computes."""


def ahead_for(device: torch.device, rest: Callable[[torch.Generator], object]) -> Ahead | None:
    """Read ahead for GPUs; on the processor a thread that reads takes its time from the step."""
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
