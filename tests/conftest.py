"""Fixtures that several test folders share."""

import os
from pathlib import Path

import numpy as np
import pytest

from ganpress.data.arrays import ImageArray

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; skips where there is none."""
    named = os.environ.get("GANPRESS_SHARED_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: set GANPRESS_SHARED_DATA (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def tiny_images() -> ImageArray:
    """60 labelled images (60, 1, 16, 16) of three classes: a bright square at a place that depends on the class."""
    random = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int64) % 3
    pixels = random.integers(0, 60, (60, 1, 16, 16)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[0, 4 * label : 4 * label + 6, 4 * label : 4 * label + 6] = random.integers(200, 256)
    return ImageArray(pixels, labels, "tiny_images")


@pytest.fixture(scope="session")
def shared_conformance() -> Path:
    """The folder of tables that architectures and counters must reproduce; skips where there is none."""
    folder = Path(os.environ.get("GANPRESS_SHARED_CONFORMANCE", CHECKOUT.parent / "shared" / "conformance"))
    if not folder.is_dir():
        pytest.skip(f"no conformance tables: set GANPRESS_SHARED_CONFORMANCE (looked at {folder})")
    return folder
