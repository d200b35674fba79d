"""Computes a judge's output for images batch by batch, and a quick score for choosing among generators."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ganpress.basics.device import run_where_it_is
from ganpress.basics.pixel_values import uint8_to_images
from ganpress.errors import ConfigError, DataError
from ganpress.files.array_files import map_array
from ganpress.metrics.distributions.frechet import FeatureStatistics, StatisticsAccumulator
from ganpress.metrics.judges.feature_networks import Judge
from ganpress.metrics.judges.judge_output import JudgeOutput, class_probabilities
from ganpress.metrics.metric import Metric
from ganpress.metrics.rows import Rows
from ganpress.metrics.samples.sample import QuickSample, RealSide, Sample
from ganpress.metrics.samples.truth import Truth
from ganpress.registries import METRICS

BATCH = 250
"""Images that a judge or generator sees at a time, at most."""
BATCH_NUMBERS = 2**23
"""Numbers in a batch of inputs, at most (32 MiB): 42 photographs of 256 x 256, 250 latents."""
QUICK_PURPOSE = "score"
"""Purpose by which `quick_score` draws its inputs."""

Generate = Callable[[Tensor], Tensor]
"""Inputs (N, …) -> images (N, C, H, W) in [-1, 1]: a torch module in eval mode, or an edge file's runner."""


class Inputs(Protocol):
    """Source of a generator's inputs (`generator_inputs`); the same seed and purpose give the same inputs."""

    def example(self) -> Float[Tensor, "1 ..."]:
        """Zeros in the shape of one input."""

    def draw(self, seed: int, purpose: str, count: int) -> Float[Tensor, "n ..."]:
        """`count` inputs, or all where there are fewer."""

    def batches(self, seed: int, purpose: str, count: int, batch_size: int = ...) -> Iterator[Float[Tensor, "n ..."]]:
        """Yield the inputs of `draw`, `batch_size` at a time."""


def input_batches(inputs: Inputs, seed: int, purpose: str, count: int) -> Iterator[Float[Tensor, "n ..."]]:
    """Yield inputs in batches that fit into memory whatever the size of an input."""
    return inputs.batches(seed, purpose, count, max(1, min(BATCH, BATCH_NUMBERS // inputs.example().numel())))


@torch.no_grad()
def generated_batches(
    generate: Generate, batches: Iterator[Float[Tensor, "_ ..."]] | Sequence[Float[Tensor, "_ ..."]]
) -> Iterator[Float[Tensor, "n c h w"]]:
    """Yield the images of each batch of inputs, on the device of the generator."""
    for batch in batches:
        yield run_where_it_is(generate, batch)


def array_batches(array_path: Path, batch_size: int = BATCH) -> Iterator[Float[Tensor, "n c h w"]]:
    """Yield a prepared split as images in [-1, 1], read from disk, at most `batch_size` at a time.

    Raises:
        DataError: if the file is missing, damaged or no array of images.
    """
    try:
        array = map_array(array_path)
    except FileNotFoundError:
        raise DataError(f"{array_path} is missing; run `dvc repro prepare` first") from None
    except ValueError as error:
        raise DataError(f"{array_path} is damaged ({error}); run `dvc repro --force prepare`") from None
    if array.ndim != 4 or array.dtype != np.uint8 or len(array) == 0:
        raise DataError(f"{array_path} must hold uint8 images (N, C, H, W), found {array.dtype} {array.shape}")
    batch_size = max(1, min(batch_size, BATCH_NUMBERS // array[0].size))
    for start in range(0, len(array), batch_size):
        yield uint8_to_images(torch.from_numpy(array[start : start + batch_size].copy()))


def judge_batches(
    batches: Iterator[Float[Tensor, "n c h w"]],
    judge: Judge,
    on_seen: Callable[[Tensor, JudgeOutput], None] | None = None,
) -> JudgeOutput:
    """Return what `judge` sees in a stream of images; only its features and probabilities are kept.

    Args:
        batches: images in [-1, 1].
        judge: The feature network.
        on_seen: Called with each batch and what the judge sees in it, before both are dropped.
    """
    features, probabilities = Rows(), Rows()
    classified = False
    for batch in batches:
        output = judge(batch)
        features.append(output.features)
        if output.probabilities is not None:
            probabilities.append(output.probabilities)
            classified = True
        if on_seen is not None:
            on_seen(batch, output)
    return JudgeOutput(features.all(), probabilities.all() if classified else None)


def array_statistics(array_path: Path | Sequence[Path], judge: Judge, batch_size: int = BATCH) -> FeatureStatistics:
    """Return the statistics of a prepared split, or of several together, in memory that does not grow with them."""
    accumulator = StatisticsAccumulator()
    for batch in _batches_of(array_path, batch_size):
        accumulator.update(judge(batch).features)
    return accumulator.statistics()


def array_features(array_path: Path | Sequence[Path], judge: Judge, batch_size: int = BATCH) -> JudgeOutput:
    """Return what a judge sees in a prepared split, or in several together."""
    return judge_batches(_batches_of(array_path, batch_size), judge)


def _batches_of(array_path: Path | Sequence[Path], batch_size: int) -> Iterator[Float[Tensor, "n c h w"]]:
    paths = [array_path] if isinstance(array_path, Path) else array_path
    return chain.from_iterable(array_batches(path, batch_size) for path in paths)


def quick_score(
    generate: Generate,
    judge: Judge,
    metric: str,
    images: int,
    seed: int,
    inputs: Inputs,
    real: RealSide | None = None,
    truth: Truth | None = None,
    splits: int = 10,
) -> float:
    """Score one generator by one number; `ganpress.metrics.ranking.higher_is_better` says which way is up.

    Every call with the same `seed` and `images` uses the same inputs, so that candidates are compared like with like.

    Args:
        generate: inputs (n, …) -> images (n, C, H, W) in [-1, 1].
        judge: The feature network; `is` needs one that knows classes, `miou` one that reads label maps.
        metric: name of one that generators can be chosen by, `Metric.can_choose`.
        images: How many images are generated, at most.
        seed: Seed of the inputs and of the splits.
        inputs: Where inputs come from: latents, or the sources of a split.
        real: What `real_side` returns for this metric, computed once.
        truth: What belongs to each input that `QUICK_PURPOSE` draws; `miou` and `psnr` need it.
        splits: Splits of the Inception Score.

    Raises:
        ConfigError: if the metric needs what was not given, or what the judge does not see.
        DataError: if the generator makes NaN, or `images` is too small.
    """
    chosen = METRICS[metric]
    if "real" in chosen.needs and real is None:
        raise ConfigError(f"the metric '{metric}' compares with real images; give what `real_side` returns")
    if "truth" in chosen.needs and truth is None:
        raise ConfigError(
            f"the metric '{metric}' compares each image with its own truth, which only paired and semantic data has; "
            "choose is, fid or kid"
        )

    def draw() -> Iterator[Float[Tensor, "n c h w"]]:
        return generated_batches(generate, input_batches(inputs, seed, QUICK_PURPOSE, images))

    sample = QuickSample(judge, draw, lambda: judge_batches(draw(), judge), real, truth, seed, splits)
    return chosen.quick(sample) if chosen.quick else _of_features(chosen, sample)


def real_side(metric: str, array_path: Path | Sequence[Path], judge: Judge) -> RealSide | None:
    """Return what `quick_score` needs of real images: statistics or features; None where the metric needs none.

    Raises:
        DataError: if a prepared array is missing or damaged.
    """
    chosen = METRICS[metric]
    if "real" not in chosen.needs:
        return None
    if chosen.real_side == "statistics":
        return array_statistics(array_path, judge)
    return array_features(array_path, judge).features


def _of_features(metric: Metric, sample: QuickSample) -> float:
    """One number of a metric that is the same in the evaluation and here."""
    assert metric.measure is not None
    seen = sample.seen()
    if "classes" in metric.needs:
        class_probabilities(seen, sample.judge.name)
    real = seen.features[:0] if sample.real is None else sample.real
    assert not isinstance(real, FeatureStatistics)
    return metric.measure(Sample(seen.features, real, seen.probabilities, sample.seed))
