"""Compares a new version of the data with the former one by the features of the judge that was trained on that."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.config.base import parse_section
from ganpress.config.data_section import PrepareConfig
from ganpress.data.gate.drift import Halves, distance_of_features
from ganpress.data.prepared.fitting import fit_image, kept_part
from ganpress.data.prepared.image_choice import rank
from ganpress.data.raw.raw_images import RawImages, open_raw
from ganpress.data.raw.raw_pairs import open_raw_pairs
from ganpress.errors import CheckpointError, ConfigError, DataError
from ganpress.files.dvc_files import cached_copy, cached_files, locked_outs, locked_params
from ganpress.files.plain_values import read_json
from ganpress.metrics.judges.feature_networks import Judge, load_judge
from ganpress.metrics.judges.judge_output import JudgeOutput
from ganpress.metrics.scoring import BATCH, BATCH_NUMBERS, array_batches, judge_batches
from tasks.shared.stage import Stage

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("ganpress")

MOST_PICTURES = 2000
"""Pictures of each version that the judge sees, at most."""
FEWEST_PICTURES = 200
"""Pictures of each version below which the distance is mostly noise."""


def features_distance(stage: Stage, source: str, manifest: "pd.DataFrame") -> float | None:
    """Return how far the pictures are from those of the former version, as the former judge sees both.

    At most 2,000 training pictures of each version are compared; of conditional data, the targets.

    Args:
        stage: `validate`.
        source: source of the present data.
        manifest: manifest of the present data.

    Returns:
        0 for equal, 1 for disjoint distributions; None, which is logged, if the former judge or data is not available.

    Raises:
        DataError: if DVC's copy of the judge or of the data is damaged.
    """
    weights = cached_copy(stage.root, locked_outs(stage.root, "judge").get("artifacts/judge/judge.safetensors", "none"))
    prepared = cached_files(stage.root, locked_outs(stage.root, "prepare").get("artifacts/prepare", "none"))
    if weights is None or not {"train.npy", "meta.json"} <= set(prepared):
        return _not_compared("the former judge or the pictures that it was trained on are not available")
    if _source_of(prepared["meta.json"]) != source:
        return _not_compared("the former judge was trained on data of another source")
    params = locked_params(stage.root, "prepare")
    config, seed = parse_section(params, "prepare", PrepareConfig, "dvc.lock"), int(params["seed"])
    chosen = _chosen(manifest, seed)
    try:
        judge = load_judge(weights, stage.device)
    except (CheckpointError, ConfigError) as error:
        raise DataError(
            f"the former judge cannot be loaded from DVC's cache ({error}); run `dvc fetch judge`, or set "
            "validate.max_drift to null"
        ) from None
    former = _halves(_first(array_batches(prepared["train.npy"])), judge)
    new = _halves(_new_pictures(_targets(stage.root / "data"), chosen, config), judge)
    if min(len(half) for half in (*former, *new)) < FEWEST_PICTURES // 4:
        return _not_compared(f"a version has fewer than {FEWEST_PICTURES} different pictures")
    return distance_of_features(new, former)


def _not_compared(reason: str) -> float | None:
    logger.info("drift: %s, so what a judge sees is not compared", reason)
    return None


def _source_of(meta: Path) -> object:
    try:
        return read_json(meta).get("source")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"DVC's copy of the former data is damaged ({error}); run `dvc fetch prepare`") from None


def _chosen(manifest: "pd.DataFrame", seed: int) -> set[str]:
    """Return the names of the pictures to look at, a seeded choice from the training pictures."""
    rows = manifest[manifest["decodes"].eq(True) & manifest["split"].ne("test")]
    names = rows["path"].astype(str)
    if "highest_id" in rows:
        names = names[names.str.startswith("target/")].str.removeprefix("target/")
    return set(sorted(names, key=lambda name: rank(seed, "drift", name))[:MOST_PICTURES])


def _halves(batches: Iterator[Tensor], judge: Judge) -> Halves:
    """Return the features of both halves of the pictures; a picture's content decides about its half."""
    first: list[bool] = []

    def divide(images: Tensor, _seen: JudgeOutput) -> None:
        for picture in images_to_uint8(images).numpy():
            first.append(hashlib.blake2b(picture.tobytes(), digest_size=1).digest()[0] % 2 == 0)

    features = judge_batches(batches, judge, divide).features
    chosen = np.array(first, np.bool_)
    return features[chosen], features[~chosen]


def _targets(data: Path) -> RawImages:
    pairs = open_raw_pairs(data)
    return open_raw(data) if pairs is None else pairs.target


def _new_pictures(raw: RawImages, chosen: set[str], config: PrepareConfig) -> Iterator[Tensor]:
    """Yield the chosen pictures in batches, in [-1, 1], converted as `prepare` converted the former version."""
    shape = (config.image_size, config.target_width)
    size = max(1, min(BATCH, BATCH_NUMBERS // (config.channels * shape[0] * shape[1])))
    batch = []
    for image in raw:
        if image.path in chosen:
            pixels = image.decode()
            part = kept_part((pixels.shape[0], pixels.shape[1]), shape, config.fit)
            batch.append(fit_image(pixels, shape, config.channels, part))
        if len(batch) == size:
            yield uint8_to_images(torch.from_numpy(np.stack(batch)))
            batch = []
    if batch:
        yield uint8_to_images(torch.from_numpy(np.stack(batch)))


def _first(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Yield the first pictures of a prepared split, which are a fair sample of it."""
    left = MOST_PICTURES
    for batch in batches:
        yield batch[:left]
        left -= len(batch)
        if left <= 0:
            return
