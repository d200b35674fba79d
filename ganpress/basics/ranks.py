"""Ranks: the processes that share one training, each on its own GPU or on the CPU.

Every rank holds all weights and draws the random numbers of a whole batch from the same streams, then computes its own
rows of it. So training with several ranks gives the same result as one process, except for rounding. A process that is
not a rank has rank 0 of 1 and no overhead.
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
"""Environment variable with the number of GPUs of a training stage, which has one rank on each."""
PROCESSES = "GANPRESS_RANKS"
"""Environment variable with the number of processes of a training stage on the CPU."""
MEETING = "GANPRESS_MEETING"
"""Environment variable that the parent process sets for a rank: the file through which ranks find each other. torch
sets RANK and WORLD_SIZE."""
MAX_RANKS = 64


def chosen_ranks(device: torch.device, gpus: int | None = None) -> int:
    """Return the number of ranks of a training; 1 by default.

    Args:
        device: the device of the stages.
        gpus: value of `--gpus`; None reads the environment.

    Raises:
        ConfigError: if it is not a number, there are fewer GPUs, or the device is of another kind.
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
            raise ConfigError(f"{origin} uses the first GPUs, but the device is {device}; choose cuda or auto")
    processes = _number(PROCESSES)
    if processes is not None and device.type != "cpu":
        raise ConfigError(f"{PROCESSES} is for the CPU, but the device is {device}; unset it, and set {GPUS}")
    return asked or processes or 1


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if not text:
        return None
    if not re.fullmatch("[1-9][0-9]?", text) or int(text) > MAX_RANKS:
        raise ConfigError(f"{variable} must be a whole number between 1 and {MAX_RANKS}, found '{shown(text, 40)}'")
    return int(text)


def ranks() -> int:
    """Return the number of processes that share this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the rank of this process, from 0; only rank 0 writes files and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other ranks inside the block if this process was started as a rank.

    Ranks find each other through a file and communicate over the loopback interface, because a port on the network
    would accept values from anyone.
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
    dist.destroy_process_group()  # not after an error: NCCL would wait for ranks that have ended


def own_rows(count: int) -> slice:
    """Return the rows of a whole batch of `count` that this rank computes.

    Raises:
        ValueError: if `count` is not divisible by the number of ranks.
    """
    each, left = divmod(count, ranks())
    if left:
        raise ValueError(f"{ranks()} ranks cannot have equal shares of {count} rows")
    return slice(rank() * each, (rank() + 1) * each)


def seed_words() -> tuple[int, ...]:
    """Return the part of a seed that distinguishes the draws of each rank; empty with one rank."""
    return (rank(),) if ranks() > 1 else ()


def of_every_rank(values: Tensor) -> Tensor:
    """Stack the values (…) of all ranks to (ranks, …)."""
    found = [torch.empty_like(values) for _ in range(ranks())]
    _together(lambda: dist.all_gather(found, values))
    return torch.stack(found)


def summed(values: Tensor) -> Tensor:
    """Return the elementwise sum of the values (…) over the ranks."""
    _together(lambda: dist.all_reduce(values))
    return values


@torch.no_grad()
def average_gradients(optimizer: optim.Optimizer, *_: object) -> None:
    """Average the gradients over the ranks as one flat buffer; used as a hook before an optimizer step.

    Ranks run the same graph, so the same parameters have no gradient on every rank.
    """
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    gradients = [one.grad for one in parameters if one.grad is not None]
    if not gradients:
        return
    flat = summed(torch.cat([one.flatten() for one in gradients])).div_(ranks())
    parts = torch.split(flat, [one.numel() for one in gradients])
    torch._foreach_copy_(gradients, [part.view_as(one) for part, one in zip(parts, gradients, strict=True)])


def averaged(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return the means of numbers over the ranks; NaN on one rank gives NaN on all."""
    if ranks() == 1:
        return dict(numbers)
    values = summed(torch.tensor(list(numbers.values()), dtype=torch.float64))
    return dict(zip(numbers, (values / ranks()).tolist(), strict=True))


def everyones(content: object) -> list[Any]:
    """Gather plain values and CPU tensors from every rank, in the order of ranks."""
    if ranks() == 1:
        return [content]
    found: list[Any] = [None] * ranks()
    _together(lambda: dist.all_gather_object(found, content))
    return found


def _together(operation: Callable[[], object]) -> None:
    """Run a collective operation.

    Raises:
        WorkerDied: if another rank has ended.
    """
    try:
        operation()
    except RuntimeError as error:
        raise WorkerDied(f"another rank of this training has ended ({shown(error, 100)})") from None
