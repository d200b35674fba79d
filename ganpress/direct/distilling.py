"""Distillation in one call: a smaller generator that is trained to draw another one's pictures."""

import copy
from dataclasses import replace
from pathlib import Path

import torch

from ganpress.config.base import parse
from ganpress.config.training_section import DistillationTraining
from ganpress.data.prepared.generator_inputs import LatentInputs, TrainingInputs
from ganpress.direct.generator import Generator
from ganpress.direct.given_inputs import given_inputs, training_inputs
from ganpress.errors import ConfigError
from ganpress.training.distillation import train_student
from ganpress.training.drawn_pairs import Pairs
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint
from models.family import Canvas
from models.imported_generator import ImportedGenerator, groups_from_arguments
from models.thinning import thin_

IMPORTED = "imported"
HALF_LIFE_SHARE = 30
"""Number of training images for each half-life of the averaged weights."""
LEARNING_RATE = 0.002


def distil(
    teacher: Generator | Pairs,
    student: "int | str | Generator" = 50,
    *,
    data: Path | str | TrainingInputs | None = None,
    images: int = 60_000,
    batch_size: int = 64,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
) -> Generator:
    """Train a smaller generator to draw the teacher's pictures (Aguinaldo et al. 2019, equation 3).

    >>> from ganpress import Generator, distil
    >>> from models.family import Canvas
    >>> teacher = Generator.fresh("wdcgan:2", Canvas(1, 16, 16))
    >>> student = distil(teacher, "wdcgan:1", images=256, batch_size=32)
    >>> student.parameters < teacher.parameters
    True

    Args:
        teacher: generator in floats; or `Pairs`, the pictures of a generator without code, which needs a student by
            name.
        student: percentage of the channels of your generator that are kept, initialised with the teacher's weights; or
            `family:spec`; or a generator, of which a copy is trained.
        data: folder of pictures, or inputs, for a teacher that reads pictures; new latents are drawn for every step.
        images: training length as a number of inputs shown.
        batch_size: number of inputs in a step.
        learning_rate: learning rate of Adam, which decays to zero along a cosine.
        seed: seed of inputs and initial weights.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    begun = _first_student(teacher, student, seed)
    if _shapes(begun) != _shapes(teacher):
        raise ConfigError(f"{begun.name} has input or output shapes that differ from the teacher's")
    half_life = max(1, images // HALF_LIFE_SHARE)
    lengths = {"train_images": images, "batch_size": batch_size, "ema_half_life_images": half_life}
    config = parse(lengths | {"learning_rate": learning_rate, "beta1": 0.5}, DistillationTraining, "distil")
    run, network = TrainingRun(seed, f"distil {begun.name}"), copy.deepcopy(begun.network)
    if isinstance(teacher, Pairs):
        made = train_student(network, teacher, config, run)
    else:
        inputs = _training_inputs(teacher, data, seed)
        made = train_student(network, copy.deepcopy(teacher.floats), config, run, None, inputs)
    return replace(begun, network=made.student.to(memory_format=torch.contiguous_format))


def _shapes(one: Generator | Pairs) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of one input and of one image."""
    if isinstance(one, Pairs):
        return tuple(one.inputs.shape[1:]), tuple(one.images.shape[1:])
    return tuple(one.example.shape[1:]), tuple(one(one.example).shape[1:])


def _training_inputs(teacher: Generator, data: Path | str | TrainingInputs | None, seed: int) -> TrainingInputs:
    """Return an endless source of new latents, or of the pictures of a folder, repeated."""
    if not isinstance(data, Path | str | None):
        return data
    if data is not None:
        return training_inputs(given_inputs(teacher.example, Path(data), seed)[1])
    if teacher.example.dim() != 2:
        raise ConfigError("the teacher reads pictures: give a folder of training pictures with data=…")
    return LatentInputs(teacher.example.shape[1])


def _first_student(teacher: Generator | Pairs, student: "int | str | Generator", seed: int) -> Generator:
    """Return the student before its training."""
    if isinstance(student, Generator):
        return student
    if isinstance(student, str):
        reads, (channels, height, width) = _shapes(teacher)
        source = (reads[0], *reads[1:]) if len(reads) == 3 else (0, 0, 0)
        canvas = Canvas(channels, height, width, *source, latent=reads[0])
        return Generator.fresh(student, canvas, seed)
    if isinstance(teacher, Pairs):
        raise ConfigError(
            "pairs have no network from which channels could be kept: give the student as family:spec, e.g. wdcgan:4"
        )
    network = copy.deepcopy(teacher.floats)
    if not isinstance(network, ImportedGenerator):
        raise ConfigError(f"{teacher.name} belongs to a known family: give the student as family:spec, e.g. wdcgan:4")
    groups = groups_from_arguments(teacher.blueprint.arguments["groups"])
    try:
        thin_(network.network, groups, [student] * len(groups))
    except ValueError as error:
        raise ConfigError(f"a student of {student} percent: {error}") from None
    if not groups:
        raise ConfigError(f"no channels of {teacher.name} can be removed; the notes of the import say why")
    blueprint = Blueprint(IMPORTED, teacher.blueprint.arguments | {"spec": str(student)})
    return Generator(network, blueprint, teacher.example, f"{teacher.name} at {student} %")
