"""Checks before the first stage that the parameters fit the data, and reports every conflict at once."""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from flows.memory_fit import check_memory
from ganpress.config.params import Params
from ganpress.config.translation_section import CONDITIONAL, TranslationTraining, kind_of_training
from ganpress.data.raw.dataset_card import DatasetCard
from ganpress.errors import ConfigError
from ganpress.registries import METRICS

FRAMEWORK_DATA = {"pix2pix": ("paired",), "spade": ("semantic",), "cyclegan": ("paired", "unpaired", "semantic")}
FEWEST = 2
"""Smallest number of images of a split."""
SPARE_BYTES = 200 * 2**20
"""Disk space for generators, edge files and the report."""


def check_fit(params: Params, card: DatasetCard, root: Path, families: Collection[str] = ()) -> None:
    """Check the parameters against memory, disk and the card of data/; no picture is opened.

    Args:
        params: parameters of the run.
        card: card of data/.
        root: the project's folder.
        families: stages that will run, without items.

    Raises:
        ConfigError: if there is a conflict; the message names each with the setting that resolves it.
    """
    found = [*_kind_of_data(params, card), *_judge(params, card), *_counts(params, card), *_disk(params, card, root)]
    if not found:  # The cost of a training cannot be counted while its settings contradict each other.
        found += check_memory(params, set(families), len(card.classes) or None if card.pairing == "semantic" else None)
    if found:
        count = "a setting does" if len(found) == 1 else f"{len(found)} settings do"
        raise ConfigError(f"{count} not fit the data ({card.source}) or this machine: {'; '.join(found)}")


def _kind_of_data(params: Params, card: DatasetCard) -> Iterator[str]:
    training = params.candidate.training
    conditional = kind_of_training(training) == CONDITIONAL
    if conditional and card.pairing is None:
        yield "candidate.training names a framework, which trains from sources and targets, and the data has no sources"
    elif not conditional and card.pairing is not None:
        yield f"the data is {card.pairing}, and candidate.training names no framework, such as cyclegan or pix2pix"
    elif isinstance(training, TranslationTraining) and card.pairing not in FRAMEWORK_DATA[training.framework]:
        fits = " or ".join(FRAMEWORK_DATA[training.framework])
        yield f"candidate.training.framework is '{training.framework}', which takes {fits} data; this is {card.pairing}"


def _judge(params: Params, card: DatasetCard) -> Iterator[str]:
    kind = params.judge.kind
    if kind == "classifier" and len(card.classes) < 2:
        yield "judge.kind is 'classifier', and the data has no classes: set 'rotations', which needs none"
    if kind == "domains" and card.pairing != "unpaired":
        yield "judge.kind is 'domains', and the data has no two domains: set 'classifier' or 'rotations'"
    if kind == "segmenter" and card.pairing != "semantic":
        yield "judge.kind is 'segmenter', and the data has no label maps: set 'classifier' or 'rotations'"
    metrics = {"teacher.metric": params.teacher.metric, "search.metric": params.search.metric}
    if kind in ("rotations", "domains"):
        for key, metric in metrics.items():
            if "classes" in METRICS[metric].needs:
                yield f"{key} is '{metric}', which needs a judge that knows classes; judge.kind is '{kind}': set 'fid'"


def _counts(params: Params, card: DatasetCard) -> Iterator[str]:
    images, tested = card.images, card.test_images
    if images < params.validate_.min_images:
        yield f"validate.min_images is {params.validate_.min_images:,}, and the data has {images:,} images"
    if tested < FEWEST or images - tested < FEWEST:
        yield f"the data has {images:,} images, too few for a train, a validation and a test split"
    trained = card.train_images(params.prepare.validation_fraction)
    batches = {"judge": params.judge.batch_size, "candidate.training": params.candidate.training.batch_size}
    for section, batch in (batches | {"control.training": params.control.training.batch_size}).items():
        if batch > trained:
            yield f"{section}.batch_size is {batch}, and the data leaves {trained:,} images to train from"
    real = images if card.pairing == "unpaired" else tested
    for key, least in (("kid_subset_size", 0), ("neighbours", 1)):
        asked = getattr(params.evaluate, key)
        if asked + least > real:
            yield f"evaluate.{key} is {asked:,}, and the data has {real:,} test images"


def _disk(params: Params, card: DatasetCard, root: Path) -> Iterator[str]:
    images = min(card.images, params.prepare.max_train_images or 2**62)
    sides = 1 if card.pairing is None else 2
    pixels = params.prepare.image_size * params.prepare.target_width * params.prepare.channels
    needed = images * sides * pixels + SPARE_BYTES
    free = shutil.disk_usage(root).free
    if needed > free and not (root / "artifacts" / "prepare" / "train.npy").exists():
        room = f"{needed / 2**20:,.0f} MiB, and {free / 2**20:,.0f} are free"
        yield f"the prepared images need {room}: free disk space, or lower prepare.image_size"
