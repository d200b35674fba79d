"""Sources of generator inputs: latents, or the prepared sources of one split.

Code that measures, calibrates, exports or draws asks for inputs by seed and purpose, without distinguishing the two
(`ganpress.metrics.scoring.Inputs` is their common interface).
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ganpress.basics.seeding import torch_generator
from ganpress.data.prepared.arrays import PreparedMeta, Split, read_meta
from ganpress.data.prepared.pairs import SourceArray, open_sources
from models.family import LATENT, Canvas

BATCH = 250
"""Batch size of a generator's inputs."""


class TrainingInputs(Protocol):
    """An endless source of inputs for a training."""

    def random(self, stream: torch.Generator, count: int) -> Tensor:
        """Return the next inputs (count, …)."""


class LatentInputs:
    """Latents z (N, Z) ~ N(0, I), in any number."""

    def __init__(self, latent: int = LATENT) -> None:
        self.latent = latent

    def example(self) -> Tensor:
        return torch.zeros(1, self.latent)

    def draw(self, seed: int, purpose: str, count: int) -> Tensor:
        """Return z (count, Z); drawn at once, because the values that torch draws depend on the sizes of the draws."""
        return torch.randn(count, self.latent, generator=torch_generator(seed, purpose, "latents"))

    def random(self, stream: torch.Generator, count: int) -> Tensor:
        """Return the next z (count, Z) of a training."""
        return torch.randn(count, self.latent, generator=stream)

    def batches(self, seed: int, purpose: str, count: int, batch_size: int = BATCH) -> Iterator[Tensor]:
        yield from torch.split(self.draw(seed, purpose, count), batch_size)


class SourceInputs:
    """Sources of one split: images in [-1, 1], or one-hot label maps; each is drawn at most once."""

    def __init__(self, sources: SourceArray) -> None:
        self.sources = sources

    def __len__(self) -> int:
        return len(self.sources)

    def example(self) -> Tensor:
        return torch.zeros(1, self.sources.channels, self.sources.height, self.sources.width)

    def rows(self, seed: int, purpose: str, count: int) -> Tensor:
        """Return the indices (n,) of what `draw` returns, ascending: those of the truth too where data is paired."""
        if count >= len(self.sources):
            return torch.arange(len(self.sources))
        order = torch.randperm(len(self.sources), generator=torch_generator(seed, purpose, "sources"))
        return order[:count].sort().values

    def draw(self, seed: int, purpose: str, count: int) -> Tensor:
        return self.sources.batch(self.rows(seed, purpose, count))

    def random(self, stream: torch.Generator, count: int) -> Tensor:
        """Return the next sources (count, C, H, W) of a training, drawn with replacement."""
        return self.sources.batch(torch.randint(len(self.sources), (count,), generator=stream))

    def batches(self, seed: int, purpose: str, count: int, batch_size: int = BATCH) -> Iterator[Tensor]:
        for rows in torch.split(self.rows(seed, purpose, count), batch_size):
            yield self.sources.batch(rows)


def open_inputs(prepared_dir: Path, split: Split) -> LatentInputs | SourceInputs:
    """Choose by `meta.json`: latents for unconditional data, else the sources of `split`.

    Raises:
        DataError: if prepared data is missing or damaged.
    """
    meta = read_meta(prepared_dir)
    if meta.conditioning is None:
        return LatentInputs(meta.latent)
    return SourceInputs(open_sources(prepared_dir, split))


def canvas_of(meta: PreparedMeta) -> Canvas:
    """Return the input and output shapes of a generator for this data."""
    source = meta.conditioning
    if source is None:
        return Canvas(meta.channels, meta.size, meta.width, latent=meta.latent)
    return Canvas(meta.channels, meta.size, meta.width, source.channels, source.height, source.width)


def inputs_digest(inputs: Tensor) -> str:
    """Return the sha256 of the float32 bytes of inputs (N, …), row by row."""
    return hashlib.sha256(inputs.detach().cpu().float().contiguous().numpy().tobytes()).hexdigest()
