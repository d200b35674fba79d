"""Runs a stage in this process, and prepares data and a judge for stages that measure generators."""

import sys

import numpy as np
import pytest
import torch
import yaml

from ganpress.data.prepared.arrays import SPLITS, UNLABELLED, Conditioning, PreparedMeta
from ganpress.files.checkpoint import save_model
from models.builders import Blueprint
from tasks.shared.stage import stage_main


@pytest.fixture(scope="session")
def run_stage():
    """(root, stage module, item, params) -> exit code, run there as DVC does; `params` are written there first."""

    def run(root, module, item=None, params=None):
        name = module.__name__.rpartition(".")[2]
        if params is not None:
            (root / "params.yaml").write_text(yaml.safe_dump(params))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            patch.setenv("GANPRESS_TRACKING", "off")
            patch.setenv("GANPRESS_THREADS", "1")
            patch.setattr(sys, "argv", [name, *([item] if item else [])])
            return stage_main(name, module.work)

    return run


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
def write_pairs():
    """(prepared, name, {split: (targets, sources)}, pairing, label_names) -> None: leaves there such prepared data."""

    def write(prepared, name, splits, pairing="paired", label_names=()):
        prepared.mkdir(parents=True, exist_ok=True)
        for split, (targets, sources) in splits.items():
            np.save(prepared / f"{split}.npy", targets)
            np.save(prepared / f"{split}_labels.npy", np.full(len(targets), UNLABELLED, np.int64))
            np.save(prepared / f"{split}_sources.npy", sources)
        (_, channels, size, width), (_, reads, *shape) = (images.shape for images in splits["train"])
        counts, source_counts = ({split: len(pair[side]) for split, pair in splits.items()} for side in (0, 1))
        source = Conditioning(pairing, len(label_names) or reads, *shape, list(label_names), source_counts)
        PreparedMeta(name, size, channels, [], counts, "none", width, source).save(prepared)

    return write


@pytest.fixture(scope="session")
def write_judge():
    """(artifacts) -> None: leaves there a judge of the tiny images that was never trained."""

    def write(artifacts):
        blueprint = Blueprint("classifier", {"channels": 1, "classes": 3, "width": 4, "features": 8})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            save_model(artifacts / "judge" / "judge.safetensors", blueprint.build(), blueprint)

    return write
