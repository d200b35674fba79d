"""Settings that follow from the pictures, which `ganpress data add` writes into params.yaml.

For the shipped digits, the rules give the shipped params.yaml; a test checks this.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ganpress.data.gate.survey import MOST_DECODED, Survey
from ganpress.performance.generator_cost import named_cost

SIZES = (32, 64)
"""Image sizes that two cores train in minutes to an hour; the family also supports 128 and 256."""
KNOWN_ACCURACY = {"digits": 0.95, "mnist": 0.95}
"""Accuracy that a judge of these data sets exceeds with a margin; for other pictures it is unknown before training."""
PASSED_FROM_CHANCE = 1 / 3
"""Required accuracy of a judge, as a share of the way from chance to certainty."""
FEW_IMAGES = 500
IS_CLASSES = 4
"""Fewest classes for which the Inception Score is informative: it cannot exceed their number."""
KID_SUBSET = 200
LARGEST_BATCH = 64
BATCHES = ("judge", "candidate.training", "student.training", "control.training")
"""Sections that train from the pictures in whole batches."""
SUPERNET_DEPTH = 8
PARAMETER_SHARE = 0.57
"""Budget of the search, as a share of the widest sub-generator's parameters."""
BYTES_A_PARAMETER = 1.62
"""Budget of the recommended file, as a share of the same parameters."""
TOLERATED = {"max_duplicate_fraction": 0.2, "max_leaked_fraction": 0.05, "max_flat_fraction": 0.05}
"""Largest shares to which the gate's limits are raised to fit the data; above them a person has to look at the
pictures."""
NEAR_TOLERATED = 0.02
"""Share of near duplicates above which `data add` warns: twice what the data sets measured for `NEAR` have at most."""


@dataclass(frozen=True)
class Setting:
    """A value that fits the data, with its reason."""

    key: str
    """Dotted key, as in params.yaml."""
    value: Any
    reason: str


def fitting_settings(of: Survey, validation_fraction: float) -> list[Setting]:
    """Return the settings that follow from pictures without sources.

    Args:
        of: properties of the pictures.
        validation_fraction: share of the train split that is held out, `prepare.validation_fraction`.
    """
    return [*_gate(of), *_preparation(of, validation_fraction), *_judge(of), *_budgets(of)]


def _gate(of: Survey) -> Iterator[Setting]:
    yield Setting("validate.min_images", min(FEW_IMAGES, of.card.images), f"{of.card.images:,} pictures")
    yield Setting(
        "validate.min_size", min(8, max(1, of.smallest_side)), f"the smallest is {of.smallest_side} pixels wide or high"
    )
    yield Setting("validate.channels", list(of.channels or (1,)), _colours(of.channels))
    shares = {"max_duplicate_fraction": (0.01, of.duplicates, "are equal to another one")}
    shares["max_leaked_fraction"] = (0.0, of.leaked, "of test occur in train")
    shares["max_flat_fraction"] = (0.0, of.flat, "are of one grey level")
    for name, (usual, found, words) in shares.items():
        fits = usual < found <= TOLERATED[name]
        value = math.ceil(found * 1000) / 1000 if fits else usual
        yield Setting(f"validate.{name}", value, f"{found:.1%} {words}")
    least = of.smallest_class_share
    value = 0.5 if least >= 0.5 else math.floor(least * 90) / 100
    reason = f"the smallest class has {least:.0%} of an even share" if len(of.card.classes) else "no classes"
    yield Setting("validate.min_class_share", value, reason)


def _colours(channels: tuple[int, ...]) -> str:
    if len(channels) > 1:
        return "some are grey, some in colour"
    return "all are grey" if channels == (1,) else "all are in colour"


def _preparation(of: Survey, validation_fraction: float) -> Iterator[Setting]:
    size = picture_size(of)
    beyond = f", more than {SIZES[-1]} takes a long time without a GPU" if of.side > SIZES[-1] * 1.5 else ""
    yield Setting("prepare.image_size", size, f"half of the pictures have {of.side} pixels or more{beyond}")
    yield Setting("prepare.channels", _channels(of), _colours(of.channels))
    trained = of.card.train_images(validation_fraction)
    batch = min(LARGEST_BATCH, max(2, 2 ** trained.bit_length() // 2))
    for section in BATCHES:
        yield Setting(f"{section}.batch_size", batch, f"{trained:,} pictures to train from")


def picture_size(of: Survey) -> int:
    """Return the training size whose ratio to the pictures' size is closest to 1."""
    return min(SIZES, key=lambda size: abs(math.log(max(of.side, 1) / size)))


def _channels(of: Survey) -> int:
    return max(of.channels, default=1)


def _judge(of: Survey) -> Iterator[Setting]:
    classifies = len(of.card.classes) > 1
    kind, chance = ("classifier", 1 / len(of.card.classes)) if classifies else ("rotations", 1 / 4)
    fits = round(chance + (1 - chance) * PASSED_FROM_CHANCE, 2)
    yield Setting(
        "judge.kind",
        kind,
        f"{len(of.card.classes)} classes" if classifies else "no classes: the judge predicts quarter turns",
    )
    accuracy = KNOWN_ACCURACY.get(of.card.source, fits)
    yield Setting(
        "judge.min_accuracy",
        accuracy,
        "known for this data set" if of.card.source in KNOWN_ACCURACY else f"{chance:.0%} by chance",
    )
    metric = "is" if classifies and len(of.card.classes) >= IS_CLASSES else "fid"
    yield Setting("teacher.metric", metric, f"the Inception Score needs {IS_CLASSES} classes or more")
    subset = KID_SUBSET if of.card.test_images > KID_SUBSET else max(2, of.card.test_images // 2)
    yield Setting("evaluate.kid_subset_size", subset, f"{of.card.test_images:,} test pictures")
    yield Setting(
        "evaluate.neighbours", min(5, max(1, of.card.test_images - 1)), f"{of.card.test_images:,} test pictures"
    )


def _budgets(of: Survey) -> Iterator[Setting]:
    size = picture_size(of)
    widest = named_cost(f"wdcgan:{SUPERNET_DEPTH}", f"{size}x{size}", _channels(of)).parameters
    reason = f"the widest sub-generator has {widest:,} parameters"
    yield Setting("search.max_parameters", round(PARAMETER_SHARE * widest / 1000) * 1000, reason)
    yield Setting("evaluate.max_bytes", round(BYTES_A_PARAMETER * widest / 10_000) * 10_000, reason)
    yield Setting("report.title", f"ganpress: {of.card.source.rpartition(':')[2] or of.card.source}", "the data's name")


def warnings(of: Survey) -> Iterator[str]:
    """Return warnings that a person should read before hours of training."""
    if of.unreadable:
        yield (
            f"{_pictures(len(of.unreadable))} cannot be read, first {of.unreadable[0]}; the gate refuses "
            f"unreadable pictures: fix or remove them"
        )
    if of.card.images < FEW_IMAGES:
        yield f"the data has {_pictures(of.card.images)}: a generator memorises so few; a few thousand are usual"
    for share, name, words in (
        (of.duplicates, "max_duplicate_fraction", "are equal to another one"),
        (of.leaked, "max_leaked_fraction", "of test also occur in train, so scores are too good"),
        (of.flat, "max_flat_fraction", "are of one grey level"),
    ):
        if share > TOLERATED[name]:
            yield f"{share:.1%} of the pictures {words}; the gate refuses that: remove them, or set validate.{name}"
    if of.near.share > NEAR_TOLERATED:
        yield (
            f"{of.near.share:.1%} of the pictures are nearly equal to another one, such as "
            f"{' and '.join(of.near.example)}: a generator memorises these; keep one of each"
        )
    if of.near.crossing:
        yield (
            f"{of.near.crossing:.1%} of the pictures are nearly equal to one of the other split, so scores are too good"
        )
    if of.smallest_class_share < 0.5:
        yield (
            f"the smallest class has {of.smallest_class_share:.0%} of an even share; generated pictures of it will be "
            "the worst"
        )
    if of.card.images > MOST_DECODED:
        yield f"{of.decoded:,} of {of.card.images:,} pictures were looked at"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"
