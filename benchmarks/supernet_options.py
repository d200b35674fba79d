"""Compares ways to train a supernet: the sampling of widths in a step, and the initial weights.

`python -m benchmarks.supernet_options [--steps 100] [--teacher-steps 250] [--ngf 8] [--seeds 2]`

The data is real scans (scikit-learn's digits, 32x32): source = their edges (Sobel), target = the digit. The teacher is
a mobile ResNet trained by pix2pix, so that a supernet of its family can start from it. Both samplings train three
widths per step: `uniform` three random ones, `sandwich` the largest, the smallest and a random one. For the largest,
the middle and the smallest width: L1 to the truth on the held-out fifth of the scans, and the Fréchet distance of 8x8
pixels, the scans' own resolution, to the truth (64 features).
"""

import argparse
import copy
import logging
import statistics
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.distillation_settings import paired_distillation
from ganpress.basics.seeding import seeded_initialisation
from ganpress.config.translation_section import TranslationTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.training.distillation_step import DistillationSetup
from ganpress.training.feature_distillation import distil_supernet
from ganpress.training.loop import TrainingRun
from ganpress.training.teacher_initialisation import initialise_from_teacher_
from ganpress.training.translation_training import train_translation
from models.builders import elastic_blueprint
from models.discriminators import patch_discriminator
from models.elastic import Elastic, Spec
from models.families import FAMILIES
from models.family import Canvas
from models.resnet import resnet_generator

SIZE, BATCH, TEACHER_SEED = 32, 8, 0
FAMILY = "mobile_resnet_9blocks"


@dataclass(frozen=True)
class Taught:
    """What all options share."""

    train: PairArray
    test: PairArray
    teacher: nn.Module
    discriminator: nn.Module


@dataclass(frozen=True)
class Quality:
    """Of one network on the test pairs; less is better in both."""

    l1: float
    """Mean distance to the truth, of values in [-1, 1]."""
    frechet: float


def digit_pairs() -> tuple[PairArray, PairArray]:
    """Edges and digits, a fifth of them for the test."""
    from scipy import ndimage
    from sklearn.datasets import load_digits

    scans = load_digits()
    targets = (scans.images * (255 / 16)).astype(np.uint8).repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)[:, None]
    slopes = [ndimage.sobel(targets.astype(np.float32), axis) for axis in (2, 3)]
    edges = np.clip(np.hypot(*slopes) / 4, 0, 255).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(targets))
    parts = order[len(order) // 5 :], order[: len(order) // 5]
    train, test = (
        PairArray(SourceArray(edges[part]), ImageArray(targets[part], scans.target[part].astype(np.int64)), "paired")
        for part in parts
    )
    return train, test


def train_teacher(ngf: int, steps: int) -> Taught:
    """Train the teacher by pix2pix."""
    train, test = digit_pairs()
    with seeded_initialisation(TEACHER_SEED, "teacher"):
        generator = resnet_generator(f"ngf={ngf}", 1, 1, separable=True)
        discriminator = patch_discriminator(2, 16, 2, "instance")
    config = TranslationTraining(
        framework="pix2pix",
        train_images=steps * BATCH,
        batch_size=BATCH,
        learning_rate=2e-3,
        discriminator_learning_rate=2e-4,
        beta1=0.5,
        objective="hinge",
        ndf=16,
        discriminator_layers=2,
        lambda_recon=100,
    )
    trained = train_translation(generator, discriminator, train, config, TrainingRun(TEACHER_SEED, "translation"))
    return Taught(train, test, trained.generator, trained.discriminator)


def trained_supernet(taught: Taught, ngf: int, steps: int, sampling: str, initial: str, seed: int) -> Elastic:
    """Train one supernet; 0 steps leave it as it starts."""
    widths = tuple(ngf * quarter // 4 for quarter in (1, 2, 4))
    with seeded_initialisation(seed, "supernet"):
        supernet = elastic_blueprint(FAMILY, Canvas(1, SIZE, SIZE, 1), (widths,)).build()
    assert isinstance(supernet, Elastic)
    if initial == "teacher":
        initialise_from_teacher_(supernet, taught.teacher, torch.zeros(1, 1, SIZE, SIZE))
    if steps == 0:
        return supernet.eval()
    config = paired_distillation(steps * BATCH, BATCH, learning_rate=2e-3)
    sandwich = sampling == "sandwich"
    networks = copy.deepcopy(taught.teacher), copy.deepcopy(taught.discriminator)
    setup = DistillationSetup(*networks, taught.train, config, FAMILIES[FAMILY].taps)
    run = TrainingRun(seed, "supernet")
    return distil_supernet(supernet, setup, run, sandwich=sandwich, random_specs=1 if sandwich else 3)[0]


@torch.no_grad()
def quality_of(network: nn.Module | Elastic, test: PairArray, spec: Spec | None = None) -> Quality:
    """Measure one network, or one width of a supernet."""
    arguments = () if spec is None else (spec,)
    pairs = [test.batch(rows, rows) for rows in torch.chunk(torch.arange(len(test)), 6)]
    images = torch.cat([network(source, *arguments) for source, _ in pairs])
    target = torch.cat([target for _, target in pairs])
    return Quality(
        float((images - target).abs().mean()), frechet_distance_of_features(_pixels(images), _pixels(target))
    )


def _pixels(images: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Pixels (N, 64) at the scans' own resolution."""
    return nn.functional.adaptive_avg_pool2d(images, 8).flatten(1).double().numpy()


def compare(taught: Taught, ngf: int, steps: int, seeds: int) -> None:
    """Print one line an option: mean over seeds, and the spread."""
    print(f"{'sampling':>9} {'initial':>8} {'steps':>6}  L1 (spread) and Fréchet distance of largest, middle, smallest")
    options = [("-", "teacher", 0)]
    options += [(sampling, initial, steps) for initial in ("random", "teacher") for sampling in ("uniform", "sandwich")]
    for sampling, initial, length in options:
        lines: list[list[Quality]] = []
        for seed in range(1, seeds + 1):
            supernet = trained_supernet(taught, ngf, length, sampling, initial, seed)
            space = supernet.space
            middle = Spec(tuple(numbers[len(numbers) // 2] for numbers in space.choices))
            lines.append([quality_of(supernet, taught.test, spec) for spec in (space.largest, middle, space.smallest)])
        cells = []
        for column in zip(*lines, strict=True):
            l1s = [quality.l1 for quality in column]
            spread, frechet = max(l1s) - min(l1s), statistics.mean(quality.frechet for quality in column)
            cells.append(f"{statistics.mean(l1s):.4f} ({spread:.4f}) {frechet:6.3f}")
        print(f"{sampling:>9} {initial:>8} {length:>6}  {' | '.join(cells)}", flush=True)


def main() -> None:
    """Train the teacher, then every option."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("steps", 100), ("teacher-steps", 250), ("ngf", 8), ("seeds", 2)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    taught = train_teacher(options.ngf, options.teacher_steps)
    teacher = quality_of(taught.teacher, taught.test)
    print(f"teacher, ngf {options.ngf}: L1 {teacher.l1:.4f}, Fréchet distance {teacher.frechet:.3f}", flush=True)
    compare(taught, options.ngf, options.steps, options.seeds)


if __name__ == "__main__":
    main()
