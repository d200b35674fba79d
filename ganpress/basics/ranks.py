"""Ranks: the processes that share one training, each on a GPU of its own or on the processor.

Every rank holds all weights and draws the random numbers of a whole batch from the same streams, then computes its own
rows of it. So a training of several ranks means what one process means, and differs from it by rounding. A process
that is no rank has rank 0 of 1, and nothing here costs it anything.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, optim

from ganpress.errors import ConfigError, WorkerDied, shown

GPUS = "GANPRESS_GPUS"
"""Environment variable: how many GPUs a training stage uses, a rank on each."""
PROCESSES = "GANPRESS_RANKS"
"""The same on the processor: how many processes a training stage has."""
MEETING = "GANPRESS_MEETING"
"""Set for a rank by whoever starts it: the file by which ranks find each other. torch sets RANK and WORLD_SIZE."""
MAX_RANKS = 64


def chosen_ranks(device: torch.device, gpus: int | None = None) -> int:
    """Return how many ranks a training has; 1 where nothing is said.

    Args:
        device: the device of the stages.
        gpus: what `--gpus` says; None reads the environment.

    Raises:
        ConfigError: if it is no number, there are fewer GPUs, or the device is another one.
    """
    origin = GPUS if gpus is None else "--gpus"
    asked = _number(GPUS) if gpus is None else gpus
    if asked is not None:
        here = torch.cuda.device_count()
        if asked > here:
            raise ConfigError(
                f"{origin} is {asked}, but this machine has {here} NVIDIA GPUs; lower it, or leave it out"
            )
        if device.type != "cuda" or device.index not in (None, 0):
            raise ConfigError(f"{origin} takes the first GPUs, but the device is {device}; choose cuda or auto")
    processes = _number(PROCESSES)
    if processes is not None and device.type != "cpu":
        raise ConfigError(f"{PROCESSES} is for the processor, but the device is {device}; unset it, and set {GPUS}")
    return asked or processes or 1


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if not text:
        return None
    if not re.fullmatch("[1-9][0-9]?", text) or int(text) > MAX_RANKS:
        raise ConfigError(f"{variable} must be a whole number between 1 and {MAX_RANKS}, found '{shown(text, 40)}'")
    return int(text)


def ranks() -> int:
    """How many processes share this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which one of them this is, from 0; rank 0 alone writes files and talks."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be a rank inside the block, if this process was started as one.

    Ranks meet by a file and talk over the loopback interface: a port for all the network would take values from anyone.
    """
    meeting = os.environ.get(MEETING)
    if meeting is None:
        yield
        return
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    backend = "cpu:gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend += ",cuda:nccl"
    own, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    place = Path(meeting).as_uri()
    _together(lambda: dist.init_process_group(backend, init_method=place, rank=own, world_size=count))
    yield
    dist.destroy_process_group()  # not after an error: the others may be gone, and NCCL would wait for them


def own_rows(count: int) -> slice:
    """Rows of a whole batch of `count` that this rank computes.

    Raises:
        ValueError: if the ranks cannot have equally many.
    """
    each, left = divmod(count, ranks())
    if left:
        raise ValueError(f"{ranks()} ranks cannot have equal shares of {count} rows")
    return slice(rank() * each, (rank() + 1) * each)


def seed_words() -> tuple[int, ...]:
    """What tells the seed of draws that each rank has for itself; nothing with one rank."""
    return (rank(),) if ranks() > 1 else ()


def of_every_rank(values: Tensor) -> Tensor:
    """Stack the values (…) of all ranks to (ranks, …)."""
    found = [torch.empty_like(values) for _ in range(ranks())]
    _together(lambda: dist.all_gather(found, values))
    return torch.stack(found)


def summed(values: Tensor) -> Tensor:
    """Return the sum over the ranks of the values (…) of each, in their place."""
    _together(lambda: dist.all_reduce(values))
    return values


@torch.no_grad()
def average_gradients(optimizer: optim.Optimizer, *_: object) -> None:
    """Average the gradients over the ranks, as one flat buffer: a hook before an optimizer's step.

    Ranks run the same graph, so the same parameters have none on every rank.
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    gradients = [one.grad for one in parameters if one.grad is not None]
    if not gradients:
        return
    flat = summed(torch.cat([one.flatten() for one in gradients])).div_(ranks())
    parts = torch.split(flat, [one.numel() for one in gradients])
    torch._foreach_copy_(gradients, [part.view_as(one) for part, one in zip(parts, gradients, strict=True)])


def averaged(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the means over the ranks of numbers that each rank has; NaN on one is NaN on all."""
    if ranks() == 1:
        return dict(numbers)
    values = summed(torch.tensor(list(numbers.values()), dtype=torch.float64))
    return dict(zip(numbers, (values / ranks()).tolist(), strict=True))


def everyones(content: object) -> list[Any]:
    """What every rank has: plain values and tensors of the processor, by rank."""
    if ranks() == 1:
        return [content]
    found: list[Any] = [None] * ranks()
    _together(lambda: dist.all_gather_object(found, content))
    return found


def _together(operation: Callable[[], object]) -> None:
    """Do what all ranks do at this point.

    Raises:
        WorkerDied: if one of them is gone.
    """
    try:
        operation()
    except RuntimeError as error:
        raise WorkerDied(f"another rank of this training is gone ({shown(error, 100)})") from None
