"""Small raw data sets."""

import numpy as np
import pytest
from PIL import Image

from ganpress.data.sources.acquisition import import_data


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The imported digits; do not write there."""
    folder = tmp_path_factory.mktemp("digits") / "data"
    import_data("digits", None, folder)
    return folder


@pytest.fixture
def write_images():
    """Write different noise images below a folder, by name; returns the folder."""

    def write(folder, names, size=(8, 8), seed=0):
        random = np.random.default_rng(seed)
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(path)
        return folder

    return write
