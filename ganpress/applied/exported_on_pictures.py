"""Runs an exported generator on picture files of any size and writes the results as files."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganpress.applied.picture_tiles import AsInput, Pixels, Plan, draw_tiles, plan_tiles
from ganpress.basics.pixel_values import uint8_to_images
from ganpress.basics.progress import ticker
from ganpress.basics.whole_files import whole_files
from ganpress.data.prepared.fitting import fit_image
from ganpress.data.prepared.pairs import one_hot
from ganpress.data.raw.dataset_card import IGNORED
from ganpress.data.raw.image_files import decode, image_names, read_picture_file
from ganpress.edge.proof.edge_card import Card, read_card
from ganpress.errors import CheckpointError, ConfigError, DataError
from ganpress.files.edge_files import find_edge_file
from ganpress.metrics.scoring import Generate
from ganpress.registries import TARGETS
from ganpress.structure.receptive_field import ReceptiveField

SUFFIX = ".png"
LARGEST_SIDE = 1024
"""Largest side of a tile, in pixels, for a file that accepts pictures of any size; it limits the memory."""


@dataclass(frozen=True)
class Applied:
    """One processed picture."""

    picture: Path
    file: Path
    size: tuple[int, int]
    """Height and width of the result."""
    plan: Plan
    seam_db: float | None
    """Signal-to-noise ratio at the seams, see `ganpress.applied.picture_tiles.Drawn`."""


class ExportedGenerator:
    """An exported file, with its card's description of pictures."""

    def __init__(self, file: Path, threads: int | None = None) -> None:
        """Open a file.

        Args:
            file: the file that a runtime opens, or its folder; the card must be beside it.
            threads: number of threads; None takes all cores.

        Raises:
            CheckpointError: if it is missing or damaged, or has no card.
            ConfigError: if it reads latents, or anything else that is not a picture.
        """
        found = find_edge_file(file) if file.is_dir() else file
        if found is None:
            raise CheckpointError(f"{file} holds no exported generator; name a file that ganpress has exported")
        self.card: Card = read_card(found)
        self.path = found
        (self.reads,) = self.card.inputs
        sizes = self.reads.shape[1:]
        if len(sizes) != 3:
            raise ConfigError(f"{found} reads latents, not pictures; use `ganpress demo` for it")
        self.channels, *self.tile = (int(size) for size in sizes)
        labels = self.reads.label_names
        if labels is None and self.channels not in (1, 3):
            raise ConfigError(f"{found} reads {self.channels} channels, which no picture has")
        self.as_input: AsInput = self._as_image if labels is None else self._as_one_hot
        self.runner: Generate = TARGETS[self.card.format].open(found, threads or os.cpu_count() or 1)

    @property
    def field(self) -> ReceptiveField:
        """The receptive field from the card; unknown if the card has none."""
        known = self.card.receptive_field
        return ReceptiveField(None, 1) if known is None else ReceptiveField(known.reach, known.stride)

    def plan(self, picture: Pixels, overlap: int | None = None) -> Plan:
        """Plan the tiles for a picture (C, H, W); see `plan_tiles`."""
        height, width = picture.shape[1:]
        tile = self.tile[0], self.tile[1]
        if self.card.any_size:
            tile = whole_or_part(height, self.field.stride), whole_or_part(width, self.field.stride)
        return plan_tiles((height, width), tile, self.field, overlap)

    def read(self, path: Path) -> Pixels:
        """Read a picture (C, H, W) in the file's colours, or a label map.

        Raises:
            DataError: if it cannot be decoded, or has label ids that the file does not know.
        """
        if self.reads.label_names is not None:
            return _read_ids(path, self.channels)
        pixels = decode(read_picture_file(path), path.name)
        return fit_image(pixels, (pixels.shape[0], pixels.shape[1]), self.channels)

    def _as_image(self, pixels: Pixels) -> Tensor:
        return uint8_to_images(torch.from_numpy(np.ascontiguousarray(pixels))[None])

    def _as_one_hot(self, pixels: Pixels) -> Tensor:
        return one_hot(torch.from_numpy(np.ascontiguousarray(pixels))[None], self.channels)


def whole_or_part(length: int, stride: int) -> int:
    """Return the side of a tile for a file of any size: the whole picture, up to `LARGEST_SIDE`."""
    return min(-(-length // stride), LARGEST_SIDE // stride) * stride


def _read_ids(path: Path, classes: int) -> Pixels:
    pixels = decode(read_picture_file(path), path.name)
    ids = pixels[:, :, :1].transpose(2, 0, 1)
    if pixels.shape[2] != 1 or (ids[ids != IGNORED] >= classes).any():
        raise DataError(
            f"{path} is not a label map: it needs one channel of ids from 0 to {classes - 1}, or {IGNORED} for none"
        )
    return np.ascontiguousarray(ids)


def apply_to_pictures(
    generator: ExportedGenerator, pictures: Sequence[Path], out: Path, overlap: int | None = None,
    overwrite: bool = False,
) -> Iterator[Applied]:  # fmt: skip
    """Process each picture and write the result below `out` as PNG, completely or not at all.

    Args:
        generator: an opened file.
        pictures: files, or folders, which are searched with their sub-folders.
        out: a folder, which is created.
        overlap: see `plan_tiles`.
        overwrite: whether existing files are replaced.

    Raises:
        DataError: if there is no picture, two results would get one name, or a file exists already; nothing is written
            then.
        ConfigError: if the tiles do not fit.
    """
    places = _places(pictures, out)
    there = next((file for file in places.values() if file.exists()), None)
    if there is not None and not overwrite:
        raise DataError(f"{there} exists already; name another folder, or add --overwrite")
    for path, file in places.items():
        picture = generator.read(path)
        plan = generator.plan(picture, overlap)
        with ticker(f"apply {path.name}", plan.tiles, "tiles") as progress:
            drawn = draw_tiles(generator.runner, picture, plan, generator.as_input, progress.advance)
        pixels = drawn.pixels[:, :, 0] if drawn.pixels.shape[2] == 1 else drawn.pixels
        with whole_files(file) as place:
            Image.fromarray(pixels).save(place, format="PNG")
        yield Applied(path, file, (pixels.shape[0], pixels.shape[1]), plan, drawn.seam_db)


def _places(pictures: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the path of each picture's result."""
    named: list[tuple[Path, Path]] = []
    for one in pictures:
        inside = [Path(name) for name in image_names(one)] if one.is_dir() else [Path(one.name)]
        named += [(one / name if one.is_dir() else one, out / name.with_suffix(SUFFIX)) for name in inside]
    if not named:
        raise DataError("there are no pictures; name files, or folders with pictures")
    missing = next((path for path, _ in named if not path.is_file()), None)
    if missing is not None:
        raise DataError(f"{missing} does not exist")
    ((file, uses),) = Counter(file for _, file in named).most_common(1)
    if uses > 1:
        raise DataError(f"{uses} pictures would be written as {file}; process them into different folders")
    return dict(named)
