"""Measures how often 95 % intervals contain the true value.

    python -m benchmarks.interval_coverage --samples 360 2000 10000

Two generators and real data are mixtures with known distributions; everything is drawn again `--draws` times. The true
value is the mean of a score over all draws, i.e. its value at this number of samples, including its bias. A row says
how many intervals contained it, and how wide they were relative to intervals of the true spread.
"""

import argparse
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.frechet_error import frechet_terms
from ganpress.metrics.distributions.kernel import kernel_distance
from ganpress.metrics.distributions.kernel_error import kernel_terms
from ganpress.metrics.intervals.distance_intervals import compare_distances, distance_interval
from ganpress.metrics.intervals.interval import Interval
from ganpress.metrics.intervals.lsh_intervals import compare_lsh, lsh_intervals
from ganpress.metrics.intervals.random_parts import RandomParts
from ganpress.metrics.neighbours.hashed import hash_reference, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import hashed_neighbourhood, score_hashed_neighbours

Float32 = NDArray[np.float32]

CLASSES, INNER, FEATURES = 10, 6, 64
SEED = 0
"""Of hashes, subsets and resamples: intervals do not cover another one."""
KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 50, 100
TRUE_HALF_WIDTH = 1.96


class Population:
    """Real data: a mixture of clusters of few dimensions. Generators draw narrower ones, and one class too rarely."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._centres = 3 * random.normal(size=(CLASSES, FEATURES))
        self._axes = random.normal(size=(CLASSES, INNER, FEATURES)) / np.sqrt(INNER)
        self._faults = random.normal(size=(2, FEATURES)) * 0.15

    def draw(self, samples: int, random: np.random.Generator) -> tuple[Float32, Float32, Float32]:
        """Return features (N, F) of real data, of a generator, and of its compressed form on the same inputs."""
        real = self._of(*self._inputs(samples, random, 1.0))
        inputs = self._inputs(samples, random, 0.5)
        made = self._of(*inputs, spread=0.9) + self._faults[0]
        compressed = self._of(*inputs, spread=0.85) + self._faults[0] + 0.5 * self._faults[1]
        return real.astype(np.float32), made.astype(np.float32), compressed.astype(np.float32)

    def _inputs(self, samples: int, random: np.random.Generator, share_of_last: float) -> tuple[np.ndarray, ...]:
        weights = np.ones(CLASSES)
        weights[-1] = share_of_last
        labels = random.choice(CLASSES, samples, p=weights / weights.sum())
        return labels, random.normal(size=(samples, INNER)), 0.1 * random.normal(size=(samples, FEATURES))

    def _of(self, labels: np.ndarray, inner: np.ndarray, noise: np.ndarray, spread: float = 1.0) -> np.ndarray:
        return self._centres[labels] + spread * np.einsum("ni,nif->nf", inner, self._axes[labels]) + noise


def intervals(real: Float32, made: Float32, compressed: Float32) -> dict[str, Interval | None]:
    """Return the interval of each score of the first generator, and of its difference to the second."""
    found: dict[str, Interval | None] = {}
    made_of = [made, compressed]
    distances = [frechet_distance_of_features(real, one) for one in made_of]
    terms = [frechet_terms(real, one) for one in made_of]
    if terms[0] is not None and terms[1] is not None:
        found["FID"] = distance_interval(distances[0], terms[0])
        found["FID difference"] = compare_distances(distances[0], terms[0], distances[1], terms[1])
    kernels = [kernel_distance(real, one, KERNEL_SUBSETS, KERNEL_SUBSET_SIZE, SEED) for one in made_of]
    first, second = (kernel_terms(real, one, KERNEL_SUBSETS, KERNEL_SUBSET_SIZE, SEED) for one in made_of)
    found["KID"] = distance_interval(kernels[0], first)
    found["KID difference"] = compare_distances(kernels[0], first, kernels[1], second)
    for name, prepare, score in (
        ("LSH", hash_reference, score_hashed),
        ("LSH+KNN", hashed_neighbourhood, score_hashed_neighbours),
    ):
        whole, parts = prepare(real, SEED), RandomParts(real, SEED, partial(prepare, seed=SEED), score)
        scores, of_parts = [score(whole, one) for one in made_of], [parts.scores(one) for one in made_of]
        assert of_parts[0] is not None
        assert of_parts[1] is not None
        own = lsh_intervals(scores[0], of_parts[0])
        difference = compare_lsh(scores[0], of_parts[0], scores[1], of_parts[1])
        for side in ("precision", "recall"):
            found[f"{side} {name}"], found[f"{side} {name} difference"] = getattr(own, side), getattr(difference, side)
    return found


def main() -> None:
    """Take the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[360, 2000])
    parser.add_argument("--draws", type=int, default=500)
    given = parser.parse_args()
    for samples in given.samples:
        began, random, population = time.process_time(), np.random.default_rng(2), Population()
        draws = [intervals(*population.draw(samples, random)) for _ in range(given.draws)]
        print(f"{samples} samples, {given.draws} draws, {time.process_time() - began:.0f} CPU s")
        for name in draws[0]:
            show(name, [one[name] for one in draws])


def show(name: str, found: list[Interval | None]) -> None:
    """Print a row: share of intervals that hold the mean, and their mean width over that of the true spread."""
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        print(f"{name:<32} no interval")
        return
    estimates = np.array([one.estimate for one in known])
    held = np.mean([one.low <= estimates.mean() <= one.high for one in known])
    width = np.mean([one.high - one.low for one in known]) / (2 * TRUE_HALF_WIDTH * estimates.std(ddof=1))
    print(f"{name:<32} holds {held:6.1%}   width {width:5.2f}   {estimates.mean():.4g} ± {estimates.std(ddof=1):.2g}")


if __name__ == "__main__":
    main()
