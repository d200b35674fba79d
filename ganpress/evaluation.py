"""Measurement of finished generators: quality, diversity, sharpness against real images; latency side by side."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganpress.config.edge import EvaluateConfig
from ganpress.errors import DataError
from ganpress.metrics.frechet import frechet_distance_of_features
from ganpress.metrics.inception_score import inception_score
from ganpress.metrics.inputs import Float64
from ganpress.metrics.judge import Judge, JudgeOutput
from ganpress.metrics.kernel import kernel_distance
from ganpress.metrics.neighbours import Neighbourhood, neighbour_scores, neighbourhood
from ganpress.metrics.scoring import (
    BATCH,
    Generate,
    array_batches,
    draw_latents,
    generated_batches,
    judge_batches,
)
from ganpress.metrics.sharpness import sharpness_ratio, variance_of_laplacian
from ganpress.pixels import images_to_uint8


def metric_name(metric: str, images: int, split: str | None = None, judge: str | None = None) -> str:
    """Return a metric's name with its protocol: `fid_1000_test_judge`, `is_1000_judge`, `vol_1000`."""
    return "_".join(part for part in (metric, str(images), split, judge) if part)


@dataclass(frozen=True)
class Reference:
    """Real images as the judge sees them, with everything about them that every generator's scores share."""

    split: str
    features: Neighbourhood


@dataclass(frozen=True)
class Scores:
    """All that images alone say about one generator."""

    images: int
    split: str
    judge: str
    inception_score: float
    inception_score_std: float
    """Over the splits of the score."""
    fid: float
    kid: float
    kid_standard_error: float | None
    precision: float
    recall: float
    density: float
    coverage: float
    vol: Float64
    """Variance of the Laplacian of each image (N,)."""

    def metrics(self, teacher: "Scores") -> dict[str, float]:
        """Return all numbers by name, with those that only mean something beside the teacher's."""
        against_real = {
            "fid": self.fid,
            "kid": self.kid,
            "precision": self.precision,
            "recall": self.recall,
            "density": self.density,
            "coverage": self.coverage,
        }
        own, real = (self.images, None, self.judge), (self.images, self.split, self.judge)
        numbers = {metric_name("is", *own): self.inception_score}
        numbers |= {metric_name(name, *real): value for name, value in against_real.items()}
        numbers |= {
            metric_name("vol", self.images): float(self.vol.mean()),
            metric_name("vol_ratio", self.images): sharpness_ratio(self.vol, teacher.vol),
            "is_retained": self.inception_score / teacher.inception_score,
            f"{metric_name('is', *own)}_std": self.inception_score_std,
        }
        if self.kid_standard_error is not None:
            numbers[f"{metric_name('kid', *real)}_error"] = self.kid_standard_error
        return numbers


def reference_features(
    array_path: Path, judge: Judge, neighbours: int, split: str = "test", batch_size: int = BATCH
) -> Reference:
    """Look at a prepared split (N, C, H, W) uint8 once, reading it batch by batch.

    Raises:
        DataError: if the file is missing or damaged, or has no more images than `neighbours`.
    """
    seen = judge_batches(array_batches(array_path, batch_size), judge)
    return Reference(split, neighbourhood(seen.features, neighbours))


def score_generator(
    generate: Generate,
    judge: Judge,
    reference: Reference,
    config: EvaluateConfig,
    seed: int,
    on_images: Callable[[int], None] | None = None,
) -> Scores:
    """Measure one generator on the latents that every generator of this seed gets.

    Images are made, looked at and dropped batch by batch; only features, probabilities and one sharpness an image stay.

    Args:
        generate: z (n, Z) -> images (n, C, H, W) in [-1, 1].
        judge: The feature network that `reference` was made with.
        reference: Real images.
        config: Sample counts.
        seed: Seed of latents, splits and subsets.
        on_images: Called with the size of each finished batch.

    Raises:
        DataError: if the generator makes NaN, or a sample count does not fit the data.
    """
    sharpness: list[Float64] = []

    def watched() -> Iterator[Tensor]:
        for batch in generated_batches(generate, draw_latents(seed, "evaluate", config.images)):
            sharpness.append(variance_of_laplacian(images_to_uint8(batch).cpu().numpy()))
            yield batch
            if on_images is not None:
                on_images(len(batch))

    seen = judge_batches(watched(), judge)
    return _scores(seen, np.concatenate(sharpness), judge, reference, config, seed)


def _scores(
    seen: JudgeOutput, vol: Float64, judge: Judge, reference: Reference, config: EvaluateConfig, seed: int
) -> Scores:
    real = reference.features.features
    score = inception_score(seen.probabilities, config.is_splits, seed)
    kernel = kernel_distance(real, seen.features, config.kid_subsets, config.kid_subset_size, seed)
    neighbours = neighbour_scores(reference.features, seen.features)
    return Scores(
        images=len(seen.features),
        split=reference.split,
        judge=judge.name,
        inception_score=score.mean,
        inception_score_std=score.split_std,
        fid=frechet_distance_of_features(real, seen.features),
        kid=kernel.mean,
        kid_standard_error=kernel.standard_error,
        precision=neighbours.precision,
        recall=neighbours.recall,
        density=neighbours.density,
        coverage=neighbours.coverage,
        vol=vol,
    )


@dataclass(frozen=True)
class Latency:
    """Wall time of one call, over all rounds."""

    p50_ms: float
    p95_ms: float
    batch_size: int
    rounds: int
    threads: int


def measure_latency(
    runners: Mapping[str, Generate], rounds: int, seed: int, batch_size: int = 1, threads: int = 1, warm_up: int = 5
) -> dict[str, Latency]:
    """Time all generators in turn, round after round, in this process.

    Interleaving spreads whatever else the machine does over all of them alike, so the ratios hold even where the times
    do not; each round starts with another runner. One thread is the default, because the thread pools of two runtimes
    that spin for work in one process slow each other down.

    Args:
        runners: z (n, Z) -> images, by reference. Runners with pools of their own must be made with `threads` threads.
        rounds: Timed calls of each runner.
        seed: Seed of the latents.
        batch_size: Images made in one call.
        threads: Threads that torch uses meanwhile.
        warm_up: Calls of each runner before the first timed one.

    Raises:
        DataError: if there is nothing to time.
    """
    if not runners or rounds < 1:
        raise DataError(f"latency needs at least one generator and one round, found {len(runners)} and {rounds}")
    z = draw_latents(seed, "latency", batch_size)
    names = list(runners)
    milliseconds: dict[str, list[float]] = {name: [] for name in names}
    with _torch_threads(threads), torch.inference_mode():
        for name in names:
            for _ in range(warm_up):
                runners[name](z)
        for turn in range(rounds):
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                began = time.perf_counter_ns()
                runners[name](z)
                milliseconds[name].append((time.perf_counter_ns() - began) / 1e6)
    return {name: _latency(values, batch_size, threads) for name, values in milliseconds.items()}


def _latency(milliseconds: list[float], batch_size: int, threads: int) -> Latency:
    p50, p95 = np.percentile(milliseconds, (50, 95))
    return Latency(float(p50), float(p95), batch_size, len(milliseconds), threads)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def interpolate_latents(first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Return `steps` latents (steps, Z) from `first` (Z,) to `second` (Z,) along the great circle.

    A straight line would pass nearer to the origin than latents from N(0, I) ever lie (White 2016).
    """
    angle = torch.arccos((first @ second / (first.norm() * second.norm())).clamp(-1, 1))
    share = torch.linspace(0, 1, steps)[:, None]
    if float(angle.sin()) < 1e-6:  # parallel: every way between them is the straight one
        return (1 - share) * first + share * second
    return (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * second) / angle.sin()
