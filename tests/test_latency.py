import time

import pytest
import torch

from ganpress.errors import DataError
from ganpress.performance.latency import measure_latency

ONE = torch.zeros(1, 100)


def test_latency_is_measured_in_turns_that_rotate():
    calls: list[str] = []

    def runner(name: str):
        return lambda z: calls.append(name) or z

    found = measure_latency({name: runner(name) for name in "abc"}, ONE, rounds=3, warm_up=1)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert all((one.rounds, one.batch_size, one.threads) == (3, 1, 1) for one in found.values())


def test_latency_is_that_of_the_call():
    def sleepy(z: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return z

    found = measure_latency({"quick": lambda z: z, "slow": sleepy}, ONE, rounds=3)
    assert found["slow"].p50_ms >= 20
    assert found["slow"].p95_ms >= found["slow"].p50_ms


def test_threads_are_set_while_timing_and_given_back():
    before, seen = torch.get_num_threads(), []

    def runner(z: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return z

    measure_latency({"one": runner}, ONE, rounds=2, threads=before + 1)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_nothing_to_time_is_refused():
    with pytest.raises(DataError, match="at least one generator and one round, found 0 and 5"):
        measure_latency({}, ONE, 5)
