"""Prepared sources and targets, which the trainers of conditional generators read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.basics.pixel_values import uint8_to_images
from ganpress.data.prepared.arrays import ALL_ROWS, ImageArray, PreparedMeta, Split, load_array, open_split, read_meta
from ganpress.data.prepared.read_ahead import Ahead, batches
from ganpress.data.raw.dataset_card import IGNORED, Pairing
from ganpress.errors import DataError


class SourceArray:
    """Inputs of generators for one split; uint8 on disk, converted to float32 on access.

    Args:
        pixels: memory-mapped or plain uint8: images (M, C, H, W), or label ids (M, 1, H, W).
        classes: number of label classes; None for images.
        name: name of these sources in error messages.
    """

    def __init__(self, pixels: NDArray[np.uint8], classes: int | None = None, name: str = "sources") -> None:
        if pixels.ndim != 4 or pixels.dtype != np.uint8:
            raise DataError(f"{name}: sources must be uint8 (M, C, H, W), found {pixels.dtype} {pixels.shape}")
        if classes is not None and pixels.shape[1] != 1:
            raise DataError(f"{name}: label maps must have one channel of ids, found {pixels.shape[1]}; prepare again")
        self.pixels, self.classes, self.name = pixels, classes, name

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        """Number of input channels of the network: image channels, or label classes."""
        return int(self.pixels.shape[1]) if self.classes is None else self.classes

    @property
    def height(self) -> int:
        return int(self.pixels.shape[2])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[3])

    def batch(self, indices: Tensor) -> Tensor:
        """Return the sources at `indices` (n,), any order, repeats allowed.

        Returns:
            float32 (n, C, H, W): images in [-1, 1], or one-hot label maps in {0, 1}, all zeros where ignored.

        Raises:
            DataError: if a label id is neither a class nor `IGNORED`.
        """
        pixels = torch.from_numpy(self.pixels[indices.numpy()])
        return uint8_to_images(pixels) if self.classes is None else one_hot(pixels, self.classes, self.name)


def one_hot(ids: Tensor, classes: int, name: str = "label maps") -> Tensor:
    """Return label ids (n, 1, H, W), uint8, as float32 (n, classes, H, W) in {0, 1}; all zeros where `IGNORED`.

    Raises:
        DataError: if an id is neither a class nor `IGNORED`.
    """
    known = ids < classes
    if not bool((known | (ids == IGNORED)).all()):
        found = sorted(set(ids[~known].tolist()) - {IGNORED})
        raise DataError(f"{name}: label id {found[0]} is not below the {classes} classes; run `dvc repro prepare`")
    maps = torch.zeros(len(ids), classes, *ids.shape[2:])
    # An ignored pixel writes its 0 into class 0, where a 0 is already.
    return maps.scatter_(1, torch.where(known, ids, 0).long(), known.float())


class PairArray:
    """One split of conditional data: sources and targets.

    Args:
        sources: (M, …); M = N unless unpaired.
        targets: (N, C, H, W) images with their class labels.
        pairing: whether row i of the sources belongs to row i of the targets (`paired`, `semantic`) or not.
    """

    def __init__(self, sources: SourceArray, targets: ImageArray, pairing: Pairing) -> None:
        if pairing != "unpaired" and len(sources) != len(targets):
            raise DataError(f"{sources.name}: {len(sources)} sources but {len(targets)} targets; prepare again")
        self.sources, self.targets, self.pairing = sources, targets, pairing

    @property
    def paired(self) -> bool:
        """Whether each source has its own target (`paired` and `semantic`)."""
        return self.pairing != "unpaired"

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class labels of the targets (N,); -1 where unlabelled."""
        return self.targets.labels

    def __len__(self) -> int:
        """Return the number of pairs; for unpaired data, the size of the smaller domain."""
        return min(len(self.sources), len(self.targets))

    def batch(self, source_indices: Tensor, target_indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return sources (n, Cs, Hs, Ws) and targets (n, C, H, W) at their indices (n,), float32."""
        return self.sources.batch(source_indices), self.targets.batch(target_indices)

    def random_batches(
        self, generator: torch.Generator, batch_size: int, rows: slice = ALL_ROWS, ahead: Ahead | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield endless batches (source, target), float32; the same rows of both, or two independent draws if unpaired.

        Of each batch only the `rows` are read; with `ahead` the next one is read while this one is used.

        Pairs are drawn with replacement, so `generator` is the only state: a training that saves and restores it
        continues with the same batches as an uninterrupted one.

        Raises:
            DataError: if a side holds fewer images than one batch (at once, not with the first batch).
        """
        for side, held in (("sources", len(self.sources)), ("targets", len(self.targets))):
            if held < batch_size:
                raise DataError(
                    f"{self.targets.name}: {held} {side} are fewer than one batch of {batch_size}; "
                    f"lower batch_size in params.yaml to {held} or less, or add data"
                )

        def draw(stream: torch.Generator) -> tuple[Tensor, Tensor]:
            of_targets = torch.randint(len(self.targets), (batch_size,), generator=stream)
            of_sources = of_targets
            if not self.paired:
                of_sources = torch.randint(len(self.sources), (batch_size,), generator=stream)
            return of_sources[rows], of_targets[rows]

        return batches(generator, draw, self.batch, ahead)


def open_sources(prepared_dir: Path, split: Split) -> SourceArray:
    """Open `<split>_sources.npy` of the prepare stage without reading the images.

    Raises:
        DataError: if the data is unconditional, or a file is missing or damaged.
    """
    return _open_sources(prepared_dir, split, read_meta(prepared_dir))


def open_pairs(prepared_dir: Path, split: Split) -> PairArray:
    """Open one split of conditional data without reading the images.

    Raises:
        DataError: if the data is unconditional, a file is missing or damaged, or both sides do not belong together.
    """
    meta = read_meta(prepared_dir)
    sources = _open_sources(prepared_dir, split, meta)
    assert meta.conditioning is not None  # Otherwise the sources could not have been opened.
    return PairArray(sources, open_split(prepared_dir, split), meta.conditioning.pairing)


def _open_sources(prepared_dir: Path, split: Split, meta: PreparedMeta) -> SourceArray:
    if meta.conditioning is None:
        raise DataError(
            f"{prepared_dir} holds {meta.source} without sources, which a conditional generator needs; "
            "choose a paired, unpaired or semantic source (docs/data.md) as data.source in params.yaml"
        )
    pixels = load_array(prepared_dir / f"{split}_sources.npy", memory_mapped=True)
    classes = meta.conditioning.channels if meta.conditioning.pairing == "semantic" else None
    return SourceArray(pixels, classes, f"{prepared_dir}: sources of split '{split}'")
