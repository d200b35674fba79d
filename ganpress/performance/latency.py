"""Measures the latency of generators in turn in one process.

`timeit` and `torch.utils.benchmark` are not used, because they time one candidate after the other, so that a busy
minute of the machine affects only one of them.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganpress.errors import DataError
from ganpress.metrics.scoring import Generate

WARM_UP = 5


@dataclass(frozen=True)
class Latency:
    """Wall time of one call, over all rounds."""

    p50_ms: float
    p95_ms: float
    least_ms: float
    """Shortest time; other load on the machine changes it least."""
    batch_size: int
    rounds: int
    threads: int


def measure_latency(
    runners: Mapping[str, Generate], inputs: Tensor, rounds: int, threads: int = 1, warm_up: int = WARM_UP
) -> dict[str, Latency]:
    """Time all generators in turn, round after round, in this process.

    Interleaving spreads other load on the machine evenly over all generators, so ratios hold even if times do not; each
    round starts with another runner. One thread is the default, because thread pools of two runtimes in one process
    slow each other down when they spin for work.

    Args:
        runners: inputs (n, …) -> images, by reference. Runners with pools of their own must be made with `threads`
            threads.
        inputs: Inputs of every call (n, …).
        rounds: Timed calls of each runner.
        threads: Threads that torch uses meanwhile.
        warm_up: Calls of each runner before the first timed one.

    Raises:
        DataError: if there is nothing to time.
    """
    if not runners or rounds < 1:
        raise DataError(f"latency needs at least one generator and one round, found {len(runners)} and {rounds}")
    names = list(runners)
    milliseconds: dict[str, list[float]] = {name: [] for name in names}
    with torch_threads(threads), torch.inference_mode():
        for name in names:
            for _ in range(warm_up):
                runners[name](inputs)
        for turn in range(rounds):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                began = time.perf_counter_ns()
                runners[name](inputs)
                milliseconds[name].append((time.perf_counter_ns() - began) / 1e6)
    return {name: _latency(values, len(inputs), threads) for name, values in milliseconds.items()}


def _latency(milliseconds: list[float], batch_size: int, threads: int) -> Latency:
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return Latency(float(p50), float(p95), min(milliseconds), batch_size, len(milliseconds), threads)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use the given number of threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
