"""From images to what a judge sees in them, batch by batch, and one quick score for choosing among generators."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.errors import ConfigError, DataError
from ganpress.metrics.frechet import (
    FeatureStatistics,
    StatisticsAccumulator,
    features_to_statistics,
    frechet_distance,
)
from ganpress.metrics.inception_score import inception_score
from ganpress.metrics.judge import Judge, JudgeOutput
from ganpress.pixels import uint8_to_images
from ganpress.seeding import torch_generator
from models.wdcgan import LATENT

BATCH = 250
"""Images that a judge or generator sees at a time."""

Generate = Callable[[Tensor], Tensor]
"""z (N, Z) -> images (N, C, H, W) in [-1, 1]: a torch module in eval mode, or an edge file's runner."""


def draw_latents(seed: int, purpose: str, images: int, latent: int = LATENT) -> Tensor:
    """Return z (images, latent) ~ N(0, I). The same seed and purpose give every generator the same z.

    All are drawn at once, because the values that torch draws depend on the sizes of the draws.
    """
    return torch.randn(images, latent, generator=torch_generator(seed, purpose, "latents"))


@torch.no_grad()
def generated_batches(generate: Generate, latents: Tensor, batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield the images (n, C, H, W) of `latents` (N, Z), `batch_size` at a time."""
    for z in torch.split(latents, batch_size):
        yield generate(z)


def array_batches(array_path: Path, batch_size: int = BATCH) -> Iterator[Tensor]:
    """Yield a prepared split (N, C, H, W) uint8 as images in [-1, 1], `batch_size` at a time, read from the disk.

    Raises:
        DataError: if the file is missing, damaged or no array of images.
    """
    try:
        array = np.load(array_path, mmap_mode="r")
    except FileNotFoundError:
        raise DataError(f"{array_path} is missing; run `dvc repro prepare` first") from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{array_path} is damaged ({error}); run `dvc repro --force prepare`") from None
    if array.ndim != 4 or array.dtype != np.uint8 or len(array) == 0:
        raise DataError(f"{array_path} must hold uint8 images (N, C, H, W), found {array.dtype} {array.shape}")
    for start in range(0, len(array), batch_size):
        yield uint8_to_images(torch.from_numpy(array[start : start + batch_size].copy()))


def judge_batches(batches: Iterator[Tensor], judge: Judge) -> JudgeOutput:
    """Return what `judge` sees in a stream of images; only its features and probabilities are kept."""
    features, probabilities = _Rows(), _Rows()
    for batch in batches:
        output = judge(batch)
        features.append(output.features)
        probabilities.append(output.probabilities)
    return JudgeOutput(features.all(), probabilities.all())


class _Rows:
    """Rows collected in one array that doubles when it is full.

    A list of small arrays would lie between the activations of the batches and keep their memory from being given back.
    """

    def __init__(self) -> None:
        self._array: NDArray[Any] = np.empty((0, 0))
        self._count = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Copy `rows` (n, F) behind those that are there."""
        needed = self._count + len(rows)
        if needed > len(self._array):
            grown = np.empty((max(needed, 2 * len(self._array)), rows.shape[1]), rows.dtype)
            if self._count:
                grown[: self._count] = self.all()
            self._array = grown
        self._array[self._count : needed] = rows
        self._count = needed

    def all(self) -> NDArray[Any]:
        """All rows (N, F)."""
        return self._array[: self._count]


def array_statistics(array_path: Path, judge: Judge, batch_size: int = BATCH) -> FeatureStatistics:
    """Return the statistics of a prepared split, in memory that does not grow with it."""
    accumulator = StatisticsAccumulator()
    for batch in array_batches(array_path, batch_size):
        accumulator.update(judge(batch).features)
    return accumulator.statistics()


def quick_score(
    generate: Generate,
    judge: Judge,
    metric: Literal["is", "fid"],
    images: int,
    seed: int,
    real: FeatureStatistics | None = None,
    splits: int = 10,
) -> float:
    """Score one generator by one number; `is` is better when higher, `fid` when lower.

    Every call with the same `seed` and `images` uses the same latents, so that candidates are compared like with like.

    Args:
        generate: z (n, Z) -> images (n, C, H, W) in [-1, 1].
        judge: The feature network.
        metric: Inception Score or Fréchet distance.
        images: How many images are generated.
        seed: Seed of the latents and of the splits.
        real: Statistics of real images (`array_statistics`), computed once; `fid` needs them.
        splits: Splits of the Inception Score.

    Raises:
        ConfigError: if `fid` is asked for without statistics.
        DataError: if the generator makes NaN, or `images` is too small.
    """
    if metric == "fid" and real is None:
        raise ConfigError("the metric 'fid' compares with real images; give their statistics")
    seen = judge_batches(generated_batches(generate, draw_latents(seed, "score", images)), judge)
    if metric == "is" or real is None:
        return inception_score(seen.probabilities, splits, seed).mean
    return frechet_distance(features_to_statistics(seen.features), real)
