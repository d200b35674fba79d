"""Measures the cost of a Ray cluster on one machine, and the speed of the search on it, against the process pool.

    python -m benchmarks.cluster [--specs 12] [--rounds 5] [--idle 20]

The same supernet of random weights as in `benchmarks.search_scaling`, scored by one and two processes of the pool, and
by one and two tasks at a time of `--cluster local`. All take turns in each round; quote the medians. CPU time is that
of this process and its descendants, including the pool's workers, or Ray's servers and workers. Memory is the
proportional set size (PSS), which counts pages that several processes share only once. The values of all four must be
the same.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import torch

from benchmarks.search_scaling import RandomSupernet
from flows.local_cluster import local_cluster
from ganpress.basics.seeding import torch_generator
from ganpress.search.cluster_scoring import ClusterScoring, Scoring
from ganpress.search.workers import ScoringPool
from models.elastic import Spec

MIB = 2**20


def below() -> list[psutil.Process]:
    """This process and all that it started."""
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def cpu_seconds() -> float:
    """Of all of them, so far."""
    return sum(sum(one.cpu_times()[:2]) for one in below())


def memory_mib() -> float:
    """PSS of all but this process."""
    return float(sum(one.memory_full_info().pss for one in below()[1:])) / MIB


def timed(scoring: Scoring, specs: Sequence[Spec]) -> tuple[float, float, dict[Spec, float]]:
    """Seconds, CPU seconds and scores."""
    cpu, began = cpu_seconds(), time.perf_counter()
    scores = dict(scoring.score(specs))
    return time.perf_counter() - began, cpu_seconds() - cpu, scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("specs", 12), ("rounds", 5), ("images", 500), ("idle", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    factory = RandomSupernet("wdcgan", 32, (8, 16, 24), options.images)
    space = factory.build().space
    specs = [space.sample(torch_generator(0, "benchmark", "specs", number)) for number in range(options.specs)]
    with ExitStack() as stack:
        began, cpu = time.perf_counter(), cpu_seconds()
        address = stack.enter_context(local_cluster(Path.cwd(), 2))
        print(f"start of Ray: {time.perf_counter() - began:.1f} s, {cpu_seconds() - cpu:.1f} CPU s")
        began, cpu = time.perf_counter(), cpu_seconds()
        time.sleep(options.idle)
        idle = (cpu_seconds() - cpu) / (time.perf_counter() - began)
        print(f"idle: {idle:.3f} CPU s a second, {memory_mib():.0f} MiB")
        task = {"num_cpus": 1, "num_gpus": 0}
        ways: dict[str, Scoring] = {}
        for workers in (1, 2):
            ways[f"pool, {workers}"] = stack.enter_context(ScoringPool(factory, workers, 10**6))
        began, cpu = time.perf_counter(), cpu_seconds()
        # One connection: the second scoring would end it for the first.
        ray = stack.enter_context(ClusterScoring(factory, 2, address, task))
        print(f"joining: {time.perf_counter() - began:.1f} s, {cpu_seconds() - cpu:.1f} CPU s")
        ways["ray, 2"] = ray
        first = {name: timed(way, specs[:2]) for name, way in ways.items()}
        for name, (seconds, spent, _) in first.items():
            print(f"{name}: first two scores after {seconds:.1f} s, {spent:.1f} CPU s")
        print(f"with workers: {memory_mib():.0f} MiB")
        turns: dict[str, list[tuple[float, float, dict[Spec, float]]]] = {}
        for _ in range(options.rounds):
            for name, way in ways.items():
                turns.setdefault(name, []).append(timed(way, specs))
            turns.setdefault("ray, 1", []).append(timed(_one_at_a_time(ray), specs))
    same = {
        json.dumps(sorted((str(spec), score) for spec, score in one[2].items()))
        for all_ in turns.values()
        for one in all_
    }
    print(f"{'way':<10}{'subnets/s':>11}{'CPU s/subnet':>14}")
    for name, measured in sorted(turns.items()):
        seconds, spent = (statistics.median(one[index] for one in measured) for index in (0, 1))
        print(f"{name:<10}{len(specs) / seconds:>11.2f}{spent / len(specs):>14.3f}")
    print("all values are the same" if len(same) == 1 else f"{len(same)} DIFFERENT SETS OF VALUES")


def _one_at_a_time(of: ClusterScoring) -> ClusterScoring:
    """The same connection with one task at a time."""
    one = object.__new__(ClusterScoring)
    one.__dict__.update(of.__dict__, _workers=1)
    return one


if __name__ == "__main__":
    main()
