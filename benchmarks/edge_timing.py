"""Times several runners of one generator in turn, so that ratios hold even if other load changes the times."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ganpress.metrics.scoring import Generate

SECONDS_A_TURN = 0.15
"""Each runner runs about so long in each round."""


@torch.inference_mode()
def time_in_turn(runners: Mapping[str, Generate], inputs: Tensor, rounds: int, threads: int = 1) -> dict[str, float]:
    """Median milliseconds of a call.

    On one thread it is process CPU time, which other load on the machine moves little; on several it is wall time.

    Args:
        runners: inputs (n, …) -> images, by name, opened with `threads` threads.
        inputs: what every call gets.
        rounds: turns of each runner.
        threads: cores in use.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    calls: dict[str, int] = {}
    for name, runner in runners.items():
        first = _seconds(clock, runner, inputs, 1)
        if first < SECONDS_A_TURN:
            first = _seconds(clock, runner, inputs, 2)
        calls[name] = max(1, int(SECONDS_A_TURN / max(first, 1e-6)))
    turns: dict[str, list[float]] = {name: [] for name in runners}
    names = list(runners)
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            turns[name].append(1000 * _seconds(clock, runners[name], inputs, calls[name]))
    return {name: statistics.median(times) for name, times in turns.items()}


def _seconds(clock: Callable[[], float], runner: Generate, inputs: Tensor, calls: int) -> float:
    start = clock()
    for _ in range(calls):
        runner(inputs)
    return (clock() - start) / calls
