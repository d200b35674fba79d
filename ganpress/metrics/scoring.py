"""From images to what a judge sees in them, batch by batch, and one quick score for choosing among generators."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ganpress.array_files import map_array
from ganpress.config.training import QuickMetric
from ganpress.errors import ConfigError, DataError
from ganpress.metrics.frechet import (
    FeatureStatistics,
    StatisticsAccumulator,
    features_to_statistics,
    frechet_distance,
)
from ganpress.metrics.inception_score import inception_score
from ganpress.metrics.inputs import Float64, Floats
from ganpress.metrics.judge import Judge
from ganpress.metrics.judge_output import JudgeOutput, class_probabilities, label_maps
from ganpress.metrics.kernel import kernel_distance
from ganpress.metrics.rows import Rows
from ganpress.metrics.similarity import peak_signal_to_noise_ratio
from ganpress.metrics.truth import SegmentationMeter, Truth
from ganpress.pixels import images_to_uint8, uint8_to_images

BATCH = 250
"""Images that a judge or generator sees at a time, at most."""
BATCH_NUMBERS = 2**23
"""Numbers in a batch of inputs, at most (32 MiB): 42 photographs of 256 x 256, 250 latents."""
QUICK_PURPOSE = "score"
"""Purpose by which `quick_score` draws its inputs."""
KID_SUBSETS, KID_SUBSET_SIZE = 10, 1000
"""Of the quick kernel distance; smaller sets are compared whole."""
RealSide = FeatureStatistics | Floats
"""Statistics of real images (`fid`), or their features (N, F) (`kid`)."""

Generate = Callable[[Tensor], Tensor]
"""Inputs (N, …) -> images (N, C, H, W) in [-1, 1]: a torch module in eval mode, or an edge file's runner."""


class Inputs(Protocol):
    """Where a generator's inputs come from (`ganpress.data.inputs`); the same seed and purpose give the same ones."""

    def example(self) -> Tensor:
        """Zeros in the shape of one input (1, …)."""

    def draw(self, seed: int, purpose: str, count: int) -> Tensor:
        """`count` inputs (count, …), or all where there are fewer."""

    def batches(self, seed: int, purpose: str, count: int, batch_size: int = ...) -> Iterator[Tensor]:
        """What `draw` returns, `batch_size` at a time."""


def input_batches(inputs: Inputs, seed: int, purpose: str, count: int) -> Iterator[Tensor]:
    """Yield inputs in batches that fit into memory whatever the size of an input."""
    return inputs.batches(seed, purpose, count, max(1, min(BATCH, BATCH_NUMBERS // inputs.example().numel())))


@torch.no_grad()
def generated_batches(generate: Generate, batches: Iterator[Tensor] | Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield the images (n, C, H, W) of each batch of inputs."""
    for batch in batches:
        yield generate(batch)


def array_batches(array_path: Path, batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield a prepared split (N, C, H, W) uint8 as images in [-1, 1], read from disk, at most `batch_size` at a time.

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
    batches: Iterator[Tensor], judge: Judge, on_seen: Callable[[Tensor, JudgeOutput], None] | None = None
) -> JudgeOutput:
    """Return what `judge` sees in a stream of images; only its features and probabilities are kept.

    Args:
        batches: images (n, C, H, W) in [-1, 1].
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


def _batches_of(array_path: Path | Sequence[Path], batch_size: int) -> Iterator[Tensor]:
    paths = [array_path] if isinstance(array_path, Path) else array_path
    return chain.from_iterable(array_batches(path, batch_size) for path in paths)


def quick_score(
    generate: Generate,
    judge: Judge,
    metric: QuickMetric,
    images: int,
    seed: int,
    inputs: Inputs,
    real: RealSide | None = None,
    truth: Truth | None = None,
    splits: int = 10,
) -> float:
    """Score one generator by one number; `ganpress.ranking.higher_is_better` says which way is up.

    Every call with the same `seed` and `images` uses the same inputs, so that candidates are compared like with like.

    Args:
        generate: inputs (n, …) -> images (n, C, H, W) in [-1, 1].
        judge: The feature network; `is` needs one that knows classes, `miou` one that reads label maps.
        metric: Inception Score, Fréchet or kernel distance, mean class IoU in [0, 1], or PSNR in decibels.
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
    if metric == "miou" or metric == "psnr":
        return _score_against_truth(generate, judge, metric, images, seed, inputs, truth)
    if metric != "is" and real is None:
        raise ConfigError(f"the metric '{metric}' compares with real images; give what `real_side` returns")
    seen = judge_batches(_generated(generate, inputs, seed, images), judge)
    if metric == "is":
        return inception_score(class_probabilities(seen, judge.name), splits, seed).mean
    if isinstance(real, FeatureStatistics):
        return frechet_distance(features_to_statistics(seen.features), real)
    assert real is not None
    size = min(KID_SUBSET_SIZE, len(real), len(seen.features))
    return kernel_distance(real, seen.features, KID_SUBSETS, size, seed).mean


def real_side(metric: QuickMetric, array_path: Path | Sequence[Path], judge: Judge) -> RealSide | None:
    """Return what `quick_score` needs of real images: statistics for `fid`, features for `kid`, nothing for the others.

    Raises:
        DataError: if a prepared array is missing or damaged.
    """
    if metric == "fid":
        return array_statistics(array_path, judge)
    return array_features(array_path, judge).features if metric == "kid" else None


def _generated(generate: Generate, inputs: Inputs, seed: int, images: int) -> Iterator[Tensor]:
    return generated_batches(generate, input_batches(inputs, seed, QUICK_PURPOSE, images))


def _score_against_truth(
    generate: Generate,
    judge: Judge,
    metric: Literal["miou", "psnr"],
    images: int,
    seed: int,
    inputs: Inputs,
    truth: Truth | None,
) -> float:
    if truth is None:
        raise ConfigError(
            f"the metric '{metric}' compares each image with its own truth, which only paired and semantic data has; "
            "choose is, fid or kid"
        )
    batches = _generated(generate, inputs, seed, images)
    if metric == "psnr":
        return _mean_psnr(batches, truth)
    meter = SegmentationMeter(truth)
    for batch in batches:
        meter.update(label_maps(judge(batch), judge.name))
    return meter.scores().mean_iou


def _mean_psnr(batches: Iterator[Tensor], truth: Truth) -> float:
    values: list[Float64] = []
    start = 0
    for batch in batches:
        values.append(peak_signal_to_noise_ratio(images_to_uint8(batch), truth.targets_of(start, len(batch))))
        start += len(batch)
    return float(np.concatenate(values).mean())
