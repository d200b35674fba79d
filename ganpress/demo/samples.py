"""Pictures and label maps that the page offers to start from: of the test split, or else drawn here."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ganpress.basics.seeding import torch_generator
from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.pairs import SourceArray, open_sources
from ganpress.demo.generators import Surface

Sources = NDArray[np.uint8]
SEED = 0
COUNT = 8
BYTE_BUDGET = 3_000_000
"""Samples lie uncompressed beside the page; of large pictures there are fewer."""


def sample_sources(surface: Surface, prepared: Path) -> tuple[Sources, str]:
    """Choose sources for a generator of images or label maps.

    Args:
        surface: what the generator reads.
        prepared: folder of the prepare stage; it may be missing or hold other data.

    Returns:
        uint8 (n, C, H, W) images, or (n, 1, H, W) label ids; and where they are from.

    Raises:
        DataError: if prepared data is there but damaged.
    """
    sources = _prepared_sources(surface, prepared)
    if sources is None:
        return drawn_sources(surface), "drawn by ganpress"
    pixels = sources.pixels
    count = min(COUNT, max(1, BYTE_BUDGET // pixels[0].size), len(sources))
    order = torch.randperm(len(sources), generator=torch_generator(SEED, "demo", "sources"))
    return np.ascontiguousarray(pixels[order[:count].sort().values.numpy()]), "test split"


def _prepared_sources(surface: Surface, prepared: Path) -> SourceArray | None:
    """The test split's sources, if they are what the generator reads."""
    if not (prepared / "meta.json").is_file() or read_meta(prepared).conditioning is None:
        return None
    sources = open_sources(prepared, "test")
    shape = (sources.channels, sources.height, sources.width)
    fits = shape == surface.input_shape and (sources.classes is not None) == (surface.kind == "labels")
    return sources if fits and len(sources) else None


def drawn_sources(surface: Surface) -> Sources:
    """One simple source: a sun above a horizon, or its label map; every label appears."""
    channels, height, width = surface.input_shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = (y + 0.5) / height, (x + 0.5) / width
    sun = (x - 0.68) ** 2 + (y - 0.3) ** 2 < 0.02
    if surface.kind == "labels":
        bands = np.minimum((y * channels).astype(np.uint8), channels - 1)
        ids = np.where(sun, channels - 1, bands).astype(np.uint8)
        return np.broadcast_to(ids, (1, 1, height, width)).copy()
    sky = np.stack([0.35 + 0.5 * y, 0.55 + 0.35 * y, 0.85 + 0.05 * y])
    ground = np.stack([0.25 + 0.2 * x, 0.5 - 0.2 * (y - 0.6), 0.2 + 0.1 * x])
    picture = np.where(y < 0.62, sky, ground)
    picture = np.where(sun, np.array([0.98, 0.85, 0.4])[:, None, None], picture)
    if channels == 1:
        picture = np.tensordot(np.array([0.299, 0.587, 0.114]), picture, 1)[None]
    pixels: Sources = np.rint(picture * 255).clip(0, 255).astype(np.uint8)[None]
    return pixels
