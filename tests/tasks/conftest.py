"""What stages read that measure generators: prepared images, and a judge of them."""

import numpy as np
import pytest
import torch

from ganpress.checkpoint import save_model
from ganpress.data.arrays import PreparedMeta
from models.builders import Blueprint

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="session")
def write_prepared(tiny_images):
    """(artifacts) -> None: leaves there what `prepare` makes, each split the same 60 tiny images of three classes."""

    def write(artifacts):
        folder = artifacts / "prepare"
        folder.mkdir(parents=True)
        for split in SPLITS:
            np.save(folder / f"{split}.npy", tiny_images.pixels)
            np.save(folder / f"{split}_labels.npy", tiny_images.labels)
        counts = dict.fromkeys(SPLITS, len(tiny_images))
        PreparedMeta("tiny", 16, 1, ["a", "b", "c"], counts, "none").save(folder)

    return write


@pytest.fixture(scope="session")
def write_judge():
    """(artifacts) -> None: leaves there a judge of the tiny images that was never trained."""

    def write(artifacts):
        blueprint = Blueprint("classifier", {"channels": 1, "classes": 3, "width": 4, "features": 8})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            save_model(artifacts / "judge" / "judge.pt", blueprint.build(), blueprint)

    return write
