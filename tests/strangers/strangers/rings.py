"""Pictures of rings, generated and not downloaded."""

from pathlib import Path

import numpy as np

from ganpress.data.raw.dataset_card import DatasetCard
from ganpress.data.raw.idx import write_idx
from ganpress.data.sources.source import Source

COUNTS = {"train": 40, "t10k": 10}


def write_rings(path: Path, target: Path, scratch: Path) -> DatasetCard:
    """Write rings of 16 x 16 pixels as idx files, the radius as the class."""
    y, x = np.mgrid[-7.5:8, -7.5:8]
    for split, count in COUNTS.items():
        labels = np.arange(count) % 2
        distance = np.abs(np.hypot(x, y) - (3 + 3 * labels)[:, None, None])
        write_idx(target / f"{split}-images-idx3-ubyte", (255 * np.exp(-(distance**2))).astype(np.uint8))
        write_idx(target / f"{split}-labels-idx1-ubyte", labels.astype(np.uint8))
    return DatasetCard("rings", "idx", {"train": 40, "test": 10}, ["small", "large"], "drawn")


RINGS = Source(write_rings, None, "")
