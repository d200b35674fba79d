"""Converts raw conditional data to arrays of sources and arrays of targets, streamed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpress.basics.progress import ticker
from ganpress.config.data_section import Fit, PrepareConfig
from ganpress.data.prepared.arrays import Conditioning, PreparedMeta
from ganpress.data.prepared.fitting import Crop, fit_image, fit_labels, kept_part
from ganpress.data.prepared.image_preparation import (
    SplitFiles,
    SplitPlan,
    plan_splits,
    prepare_images,
    target_meta,
    write_images,
    write_labels,
)
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.raw.raw_pairs import RawPairs, integer_scale, open_raw_pairs
from ganpress.errors import DataError


def prepare_data(folder: Path, config: PrepareConfig, seed: int, out: Path) -> PreparedMeta:
    """Prepare the data below `folder`: images alone, or sources and targets.

    Raises:
        DataError: as `prepare_images` and `prepare_pairs`.
    """
    pairs = open_raw_pairs(folder)
    if pairs is None:
        return prepare_images(open_raw(folder), config, seed, out)
    return prepare_pairs(pairs, config, seed, out)


def prepare_pairs(raw: RawPairs, config: PrepareConfig, seed: int, out: Path) -> PreparedMeta:
    """Write `<split>.npy`, `<split>_sources.npy`, `<split>_labels.npy` and `meta.json`; equal input gives equal bytes.

    The targets decide the splits. A source gets the split, the position and the crop of its target; in unpaired data
    each domain is split separately. Label maps are resampled by the nearest pixel, images as usual.

    Raises:
        DataError: if an image can't be decoded, a source has no target or does not fit it, or a split would be empty.
    """
    plan = plan_splits(raw.target, config, seed)
    source_plan = plan if raw.paired else plan_splits(raw.source, config, seed)
    channels = 1 if raw.pairing == "semantic" else config.source_channels or config.channels
    with SplitFiles(out, source_plan, (channels, *config.source_shape), "_sources") as sources:
        if raw.paired:
            _write_paired(raw, plan, config, out, sources)
        else:
            write_images(raw.target, plan, config, out)
            _write_domain(raw, config, sources)
    height, width = config.source_shape
    read = len(raw.label_names) if raw.pairing == "semantic" else channels
    names = list(raw.label_names)
    conditioning = Conditioning(raw.pairing, read, height, width, names, source_plan.counts())
    meta = replace(target_meta(raw.target, plan, config), source=raw.name, conditioning=conditioning)
    meta.save(out)
    return meta


def _write_paired(raw: RawPairs, plan: SplitPlan, config: PrepareConfig, out: Path, sources: SplitFiles) -> None:
    """Write both sides in one pass."""
    shape = (config.image_size, config.target_width)
    targets = SplitFiles(out, plan, (config.channels, *shape))
    with targets, ticker("prepare", len(plan.split), "pairs") as progress:
        for number, source, target in raw.matched():
            if targets.wants(number):
                read, drawn = source.decode(), target.decode()
                crops = _same_part(source.path, _shape(read), _shape(drawn), shape, config.fit)
                sources.write(number, _fit_source(raw, read, config, crops[0]))
                targets.write(number, fit_image(drawn, shape, config.channels, crops[1]))
            progress.advance(1)
    write_labels(plan, out)


def _write_domain(raw: RawPairs, config: PrepareConfig, sources: SplitFiles) -> None:
    with ticker("prepare sources", len(sources.plan.split), "images") as progress:
        for number, image in enumerate(raw.source):
            if sources.wants(number):
                pixels = image.decode()
                part = kept_part(_shape(pixels), config.source_shape, config.fit)
                sources.write(number, _fit_source(raw, pixels, config, part))
            progress.advance(1)


def _shape(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]


def _same_part(
    name: str, source: tuple[int, int], target: tuple[int, int], result: tuple[int, int], fit: Fit
) -> tuple[Crop, Crop]:
    """Return the same part of a source and of its target, one of which is a whole number of times as large."""
    factor = integer_scale(source, target)
    if factor is None:
        raise DataError(
            f"source {name} is {source[0]}x{source[1]} pixels and its target {target[0]}x{target[1]}; expected "
            f"equal sizes, or one an integer multiple of the other"
        )
    finer = factor if target > source else 1  # The part is chosen on the one with the lower resolution.
    part = kept_part(min(source, target), (result[0] // finer, result[1] // finer), fit)
    return part.times(factor if source > target else 1), part.times(finer)


def _fit_source(raw: RawPairs, pixels: NDArray[np.uint8], config: PrepareConfig, part: Crop) -> NDArray[np.uint8]:
    if raw.pairing == "semantic":
        return fit_labels(pixels, config.source_shape, part)
    return fit_image(pixels, config.source_shape, config.source_channels or config.channels, part)
