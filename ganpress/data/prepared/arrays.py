"""Prepared images as memory-mapped arrays, which all trainers and metrics read."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.basics.pixel_values import uint8_to_images
from ganpress.data.prepared.read_ahead import Ahead, batches
from ganpress.data.raw.dataset_card import Pairing
from ganpress.errors import DataError, shown
from ganpress.files.array_files import map_array
from ganpress.files.plain_values import dataclass_of, read_json
from models.family import LATENT

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
UNLABELLED = -1
ALL_ROWS = slice(None)


@dataclass(frozen=True)
class Conditioning:
    """The inputs of a conditional generator: the `<split>_sources.npy` beside the targets `<split>.npy`."""

    pairing: Pairing
    channels: int
    """Number of input channels of the network: image channels, or label classes (one-hot)."""
    height: int
    """Height of a source in pixels; smaller than the target's for super-resolution."""
    width: int
    label_names: list[str]
    """Names of the label ids 0, 1, …; empty unless semantic."""
    counts: dict[str, int]
    """Number of sources in each split; equal to that of the targets unless unpaired."""


@dataclass(frozen=True)
class PreparedMeta:
    """Contents of `meta.json` beside the arrays."""

    source: str
    """Data source: `digits`, `mnist`, …, `folder:<path>`."""
    size: int
    """Height in pixels."""
    channels: int
    classes: list[str]
    """Class names in the order of the labels; empty for unlabelled data."""
    counts: dict[str, int]
    """Images in each split."""
    resize: str
    """Description of the resampling."""
    width: int = 0
    """Width in pixels; if missing or 0, images are square."""
    conditioning: Conditioning | None = None
    """Inputs of a conditional generator; None for unconditional data."""
    latent: int = LATENT
    """Length of the latent of generators of unconditional data."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", self.width or self.size)

    def save(self, folder: Path) -> None:
        """Write `meta.json`; equal content is equal bytes."""
        content = asdict(self)
        if (
            self.conditioning is None and self.width == self.size
        ):  # The format is unchanged, so that existing results stay valid.
            del content["conditioning"], content["width"]
        if self.latent == LATENT:
            del content["latent"]
        text = json.dumps(content, indent=2, sort_keys=True)
        (folder / "meta.json").write_text(text + "\n", encoding="utf-8")


def read_meta(prepared_dir: Path) -> PreparedMeta:
    """Read `meta.json` of prepared data.

    Raises:
        DataError: if it is missing or was written by something else.
    """
    path = prepared_dir / "meta.json"
    try:
        return dataclass_of(PreparedMeta, read_json(path))
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro prepare` or `ganpress run` first") from None
    except (OSError, ValueError) as error:
        reason = f"({shown(error, 200)}); delete artifacts/prepare and run `dvc repro prepare`"
        raise DataError(f"{path} is damaged {reason}") from None


class ImageArray:
    """One split: uint8 images (N, C, H, W) that stay on disk, and int64 labels (N,) in memory.

    Args:
        pixels: memory-mapped or plain uint8 array (N, C, H, W).
        labels: int64 (N,); `UNLABELLED` for images without a label.
        name: name in error messages of this split.
    """

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], name: str = "images") -> None:
        if pixels.ndim != 4 or pixels.dtype != np.uint8:
            raise DataError(f"{name}: images must be uint8 (N, C, H, W), found {pixels.dtype} {pixels.shape}")
        if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu":
            found = f"labels of shape {labels.shape} and type {labels.dtype}"
            raise DataError(f"{name}: {len(pixels)} images but {found}; prepare again")
        self.pixels, self.labels, self.name = pixels, labels, name

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def size(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[2])

    @property
    def width(self) -> int:
        """Return the width in pixels; equal to `size` if images are square."""
        return int(self.pixels.shape[3])

    def batch(self, indices: Tensor) -> Tensor:
        """Return the images at `indices` (n,), any order, repeats allowed: float32 (n, C, H, W) in [-1, 1]."""
        return uint8_to_images(torch.from_numpy(self.pixels[indices.numpy()]))

    def random_batches(
        self, generator: torch.Generator, batch_size: int, rows: slice = ALL_ROWS, ahead: Ahead | None = None
    ) -> Iterator[Tensor]:
        """Yield endless batches, float32 (batch_size, C, H, W) in [-1, 1].

        Of each batch only the `rows` are read; with `ahead` the next one is read while this one is used.

        Images are drawn with replacement: `generator` is then the only state, so a training that saves and restores it
        continues with the very batches that an uninterrupted one sees.

        Raises:
            DataError: if the split holds fewer images than one batch (at once, not with the first batch).
        """
        if len(self) < batch_size:
            raise DataError(
                f"{self.name}: {len(self)} images are fewer than one batch of {batch_size}; "
                f"lower batch_size in params.yaml to {len(self)} or less, or add data"
            )

        def draw(stream: torch.Generator) -> tuple[Tensor]:
            return (torch.randint(len(self), (batch_size,), generator=stream)[rows],)

        return batches(generator, draw, self.batch, ahead)


def open_split(prepared_dir: Path, split: Split) -> ImageArray:
    """Open `<split>.npy` and `<split>_labels.npy` of the prepare stage without reading the images.

    Raises:
        DataError: if a file is missing, truncated or not an array, or images and labels do not belong together.
    """
    pixels = load_array(prepared_dir / f"{split}.npy", memory_mapped=True)
    labels = load_array(prepared_dir / f"{split}_labels.npy", memory_mapped=False)
    return ImageArray(pixels, labels, f"{prepared_dir}: split '{split}'")


def load_array(path: Path, memory_mapped: bool) -> NDArray[Any]:
    """Open an array of the prepare stage.

    Raises:
        DataError: if it is missing, truncated or not an array of numbers.
    """
    try:
        array = map_array(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro prepare` or `ganpress run` first") from None
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); delete artifacts/prepare and run `dvc repro prepare`") from None
    return array if memory_mapped else np.array(array)
