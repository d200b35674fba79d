"""Every trainer at a few steps, as one process or as a rank: `python rank_trainings.py FOLDER NAME …`.

It writes the images of each trained generator by rank. The networks are those of the tests of the trainers.
"""

import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import test_feature_distillation as distillation
import test_resume as unconditional
import test_translation as translation
import torch
from torch import Tensor, nn

from ganpress.basics.device import CPU
from ganpress.basics.ranks import everyones, joined, rank, ranks
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.errors import TrainingDiverged
from ganpress.training import distillation as students
from ganpress.training.loop import Checkpointing
from models.elastic import Elastic

STEPS = 6
IMAGES = ImageArray(
    np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), dtype=np.uint8), np.arange(64, dtype=np.int64) % 3
)
GAN = unconditional.GAN.model_copy(update={"train_images": STEPS * 8})
LATENTS = unconditional.DISTILLATION.model_copy(update={"train_images": STEPS * 8})


@dataclass(frozen=True)
class Trainer:
    """One trainer on small networks."""

    train: Callable[..., nn.Module]
    """(checkpointing, on_samples) -> the trained generator."""
    start: Callable[[], nn.Module]
    """Builds the generator as it is before."""
    inputs: Tensor
    """What it draws images of."""


def noise(pairing: str, sources: int = 1, targets: int = 1, size: tuple[int, int] = (16, 16)) -> PairArray:
    """Random images: where an image is flat, instance norm makes large numbers of rounding."""
    random = np.random.default_rng(0)
    shape = (40, sources, *size)
    classes = 3 if pairing == "semantic" else None
    pixels = random.integers(0, classes or 256, shape, dtype=np.uint8)
    images = random.integers(0, 256, (40, targets, *size), dtype=np.uint8)
    return PairArray(SourceArray(pixels, classes), ImageArray(images, np.zeros(40, np.int64)), pairing)


def latent(train: Callable[..., nn.Module], elastic: bool = False) -> Trainer:
    """A trainer of generators of latents."""
    builder = (unconditional.elastic,) if elastic else (unconditional.wdcgan_generator, "2", 16, 1)
    return Trainer(train, lambda: unconditional.build(*builder), torch.randn(32, 100, generator=generator()))


def conditional(framework: str, **options: float) -> Trainer:
    """A trainer of conditional generators against data."""
    batch = 2 if framework == "spade" else 4
    settings = translation.config(framework, train_images=STEPS * batch, batch_size=batch, **options)
    pairing = {"spade": "semantic", "cyclegan": "unpaired", "pix2pix": "paired"}[framework]
    data = noise(pairing, targets=3, size=(32, 64) if framework == "spade" else (16, 16))

    def train(checkpointing, on_samples):
        return translation.run(framework, settings, data, 1, checkpointing, on_samples).generator

    return Trainer(train, lambda: translation.networks(framework)[0], sources_of(data))


def distilled(pairing: str, **options: float) -> Trainer:
    """Distillation of one student."""
    data = noise(pairing)
    run = distillation.run_student(pairing, data=data, train_images=STEPS * 4, **options)
    return Trainer(lambda *given: run(*given)[0], lambda: distillation.generator(2), sources_of(data))


def distilled_supernet() -> Trainer:
    """Distillation of a supernet."""
    data = noise("paired")

    def train(checkpointing, on_samples):
        return distillation.run_supernet(checkpointing, on_samples, data, train_images=STEPS * 4)[0]

    return Trainer(train, distillation.supernet, sources_of(data))


def sources_of(data: PairArray) -> Tensor:
    rows = torch.arange(16)
    return data.batch(rows, rows)[0]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


TRAINERS = {
    "gan": latent(unconditional.gan(IMAGES, GAN)),
    "gan-augmented": latent(unconditional.gan(IMAGES, GAN.model_copy(update={"augment": "diffaugment"}))),
    "wgan-clip": latent(unconditional.gan(IMAGES, GAN.model_copy(update={"objective": "wgan", "weight_clip": 0.05}))),
    "wgan-gp": latent(
        unconditional.gan(IMAGES, GAN.model_copy(update={"objective": "wgan", "gradient_penalty": 10.0}))
    ),
    "r3gan": latent(unconditional.gan(IMAGES, GAN.model_copy(update={"objective": "r3gan", "gradient_penalty": 1.0}))),
    "student": latent(unconditional.student(IMAGES, False, LATENTS)),
    "student-kept": latent(unconditional.student(IMAGES, False, LATENTS.model_copy(update={"teacher_images": 50}))),
    "student-joint": latent(unconditional.student(IMAGES, True, LATENTS)),
    "supernet": latent(unconditional.supernet(IMAGES, LATENTS), elastic=True),
    "pix2pix": conditional("pix2pix"),
    "cyclegan": conditional("cyclegan"),
    "cyclegan, no pool": conditional("cyclegan", pool_images=0),
    "spade": conditional("spade"),
    "distil-paired": distilled("paired"),
    "distil-unpaired": distilled("unpaired"),
    "distil-supernet": distilled_supernet(),
}


def exactly() -> None:
    """Let this process compute in float64: rounding, which adversaries amplify without bound, then hides no fault."""
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double
    for array in (ImageArray, SourceArray):
        array.batch = lambda self, indices, batch=array.batch: batch(self, indices).double()


@torch.no_grad()
def drawn(network: nn.Module, inputs: Tensor) -> Tensor:
    """Images of a generator by its batch's statistics and without dropout; of a supernet at both ends."""
    network.train()
    inputs = inputs.to(next(network.parameters()).dtype)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    if isinstance(network, Elastic):
        return torch.cat([network(inputs, spec) for spec in (network.space.largest, network.space.smallest)])
    return network(inputs)


class Killed(BaseException):
    """Stands for a kill: not an Exception, so nothing tidies up after it."""


def resumed(trainer: Trainer, path: Path) -> Tensor:
    """Images of a generator whose training all ranks left at the fourth step, and went on with from the checkpoint."""
    checkpointing, read, calls = Checkpointing(path, "identity", pause_seconds=0), ImageArray.batch, itertools.count(1)

    def killed(self, indices):
        if next(calls) == 4:
            raise Killed
        return read(self, indices)

    ImageArray.batch = killed
    try:
        trainer.train(checkpointing, None)
    except Killed:
        ImageArray.batch = read
    everyones(None)  # rank 0 has written it
    seen: list[int] = []
    images = drawn(trainer.train(checkpointing, lambda point, _: seen.append(point.images)), trainer.inputs)
    assert rank() > 0 or len(seen) == STEPS - 3
    return images


def diverged(trainer: Trainer) -> str:
    """What a trainer of a student says where the loss of the last rank alone is NaN."""
    right = students.distillation_loss
    if rank() == ranks() - 1:
        students.distillation_loss = lambda made, wanted: right(made, wanted) * float("nan")
    try:
        trainer.train(None, None)
    except TrainingDiverged as error:
        return str(error)
    finally:
        students.distillation_loss = right
    return ""


def main(folder: Path, names: list[str]) -> None:
    """Train by each trainer as the rank that this process is."""
    torch.set_num_threads(1)
    exactly()
    with joined(CPU):
        for name in names:
            trainer = TRAINERS[name]
            torch.save(drawn(trainer.start(), trainer.inputs), folder / f"{name}-start.pt")
            torch.save(drawn(trainer.train(None, None), trainer.inputs), folder / f"{name}-{rank()}.pt")
        for name in RESUMED:
            torch.save(resumed(TRAINERS[name], folder / f"{name}.checkpoint"), folder / f"{name}-resumed-{rank()}.pt")
        (folder / f"diverged-{rank()}").write_text(diverged(TRAINERS["student"]))


RESUMED = ("pix2pix", "cyclegan")
"""Trainers in which each rank has something of its own: dropout masks, or a pool of pictures."""


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
