"""Measures sub-generators scored per second on one core and on several, i.e. how the search scales with cores.

    python -m benchmarks.search_scaling [--family wdcgan] [--size 32] [--widths 8 16 24] [--specs 12] [--workers 1 2]

A real supernet of random weights is scored as the stage `search` does: statistics calibrated for each sub-generator,
images generated, classified, and compared by Fréchet distance with real images, which each worker processes once. The
numbers of workers take turns in each round, so that other load slows all equally; quote the median of the ratios. The
CPU time per score is also printed, which other load changes little: if it stays the same with more workers, they do not
slow each other down, and the rate grows with the free cores. Workers are started and warmed up before the measurement;
their start is reported separately, because a search pays it once.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from ganpress.basics.seeding import seeded_initialisation, torch_generator
from ganpress.metrics.distributions.frechet import features_to_statistics, frechet_distance
from ganpress.metrics.judges.feature_networks import ClassifierJudge
from ganpress.search.workers import ScoringPool
from models.builders import elastic_blueprint
from models.elastic import Elastic, Spec
from models.families import find_family
from models.family import Canvas
from models.judge_networks import classifier

BATCH = 50


@dataclass(frozen=True)
class RandomSupernet:
    """Builds the scorer of a supernet of random weights, the same in every process."""

    family: str
    size: int
    widths: tuple[int, ...]
    images: int

    @property
    def canvas(self) -> Canvas:
        """Gray images, from gray images where the family reads a source."""
        return Canvas(channels=1, height=self.size, width=self.size, reads=int(find_family(self.family)[1].conditional))

    def build(self) -> Elastic:
        """The supernet."""
        with seeded_initialisation(0, "benchmark", "supernet"):
            supernet = elastic_blueprint(self.family, self.canvas, (self.widths,)).build()
        assert isinstance(supernet, Elastic)
        return supernet.eval()

    def __call__(self) -> Callable[[Spec], float]:
        """Build supernet, classifier and real side."""
        supernet = self.build()
        with seeded_initialisation(0, "benchmark", "judge"):
            judge = ClassifierJudge(classifier(channels=1, classes=10, width=16, features=64), "benchmark")
        inputs = self._inputs()
        real = features_to_statistics(judge(_generate(supernet, supernet.space.largest, inputs)).features)

        def score(spec: Spec) -> float:
            return frechet_distance(features_to_statistics(judge(_generate(supernet, spec, inputs)).features), real)

        return score

    def _inputs(self) -> Tensor:
        _, *one = find_family(self.family)[1].input_shape(self.canvas)
        return torch.randn(self.images, *one, generator=torch_generator(0, "benchmark", "inputs"))


@torch.no_grad()
def _generate(supernet: Elastic, spec: Spec, inputs: Tensor) -> Tensor:
    """Images (N, C, H, W) of a sub-generator, with statistics measured for it."""
    calibrated = supernet.calibrate(inputs[:BATCH], spec)
    return torch.cat([supernet(x, spec, calibrated) for x in torch.split(inputs, BATCH)])


def main() -> None:
    """Print one line a round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="wdcgan")
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 24])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    for name, default in (("size", 32), ("images", 500), ("specs", 12), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    factory = RandomSupernet(options.family, options.size, tuple(options.widths), options.images)
    space = factory.build().space
    specs = [space.sample(torch_generator(0, "benchmark", "specs", number)) for number in range(options.specs)]
    print(f"{options.family}, {options.size} px, {options.images} images a score, torch {torch.__version__}")
    with ExitStack() as stack:
        pools = {count: stack.enter_context(ScoringPool(factory, count, 10**6)) for count in options.workers}
        for count, pool in pools.items():
            seconds = _timed(pool, specs[:1] * count).seconds
            print(f"{count} workers: first scores after {seconds:.1f} s")
        turns = _in_turn(pools, specs, options.rounds)
    first = turns[options.workers[0]]
    print(f"{'workers':>8}{'subnets/s':>12}{'ratio':>8}{'CPU s/subnet':>14}")
    for count, measured in turns.items():
        ratio = statistics.median(one.seconds / other.seconds for one, other in zip(first, measured, strict=True))
        rate = len(specs) / statistics.median(one.seconds for one in measured)
        cpu = statistics.median(one.cpu_seconds for one in measured) / len(specs)
        print(f"{count:>8}{rate:>12.2f}{ratio:>7.2f}x{cpu:>14.3f}")


@dataclass(frozen=True)
class Turn:
    """One batch of specs, scored."""

    seconds: float
    cpu_seconds: float
    """Of this process and its workers."""


def _in_turn(pools: dict[int, ScoringPool], specs: Sequence[Spec], rounds: int) -> dict[int, list[Turn]]:
    """Score all specs with each number of workers, round after round."""
    turns: dict[int, list[Turn]] = {count: [] for count in pools}
    for number in range(rounds):
        for count, pool in pools.items():
            turns[count].append(_timed(pool, specs))
        rates = (f"{count} workers {len(specs) / done[-1].seconds:.2f} subnets/s" for count, done in turns.items())
        print(f"round {number + 1}: {', '.join(rates)}")
    return turns


def _timed(pool: ScoringPool, specs: Sequence[Spec]) -> Turn:
    cpu, start = _cpu_seconds(), time.perf_counter()
    list(pool.score(specs))
    return Turn(time.perf_counter() - start, _cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    own = psutil.Process()
    return sum(one.cpu_times().user + one.cpu_times().system for one in (own, *own.children(recursive=True)))


if __name__ == "__main__":
    main()
