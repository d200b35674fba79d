"""Adversarial training of conditional generators: pix2pix, CycleGAN and SPADE, for teachers and controls.

Shapes: sources (N, Cs, h, w) are images in [-1, 1] or one-hot label maps, targets (N, C, H, W) images in [-1, 1].
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.basics.device import moved
from ganpress.basics.ranks import own_rows
from ganpress.config.translation_section import TranslationTraining
from ganpress.data.prepared.pairs import PairArray
from ganpress.data.prepared.read_ahead import ahead_for
from ganpress.errors import ConfigError
from ganpress.training.arithmetic import fastest_memory_format
from ganpress.training.cyclegan import CycleStep, WayBack
from ganpress.training.dropout import DropoutStream
from ganpress.training.ema import WeightAverage, recalibrate_batch_norm_
from ganpress.training.loop import CurvePoint, Losses, RandomStream, Stateful, TrainingRun
from ganpress.training.paired import PairedStep
from ganpress.training.perceptual import PerceptualLoss

CALIBRATION_IMAGES = 500
"""Sources that the averaged generator's normalisation statistics are measured on."""


@dataclass(frozen=True)
class TrainedTranslation:
    """The outcome: averaged, calibrated generator in eval mode; the discriminator of its images; the loss curve."""

    generator: nn.Module
    discriminator: nn.Module
    curve: list[CurvePoint]
    back: WayBack | None
    """CycleGAN's other half, as training left it, in eval mode."""


def train_translation(
    generator: nn.Module,
    discriminator: nn.Module,
    data: PairArray,
    config: TranslationTraining,
    run: TrainingRun,
    back: WayBack | None = None,
) -> TrainedTranslation:
    """Train `generator`, source -> target, against `discriminator`, by the framework that `config` names.

    Everything runs on the device that the networks are on.

    Args:
        generator: trained in place; the result is a copy with averaged weights.
        discriminator: of (source, target) stacks for pix2pix and SPADE, of targets alone for CycleGAN.
        data: pairs, or two domains for CycleGAN.
        config: framework, length, rates and weights.
        run: its random streams, name and checkpoint.
        back: the way back, needed by CycleGAN and by nothing else.

    Raises:
        ConfigError: if a framework for pairs is given unpaired data.
        CheckpointError: if `config.perceptual_weights` fit no feature network.
        DataError: if there are fewer images than one batch.
        TrainingDiverged: if a loss is not finite.
        ValueError: if `back` is missing for CycleGAN, or given to another framework.
    """
    random = run.stream("training")
    device, memory_format = next(generator.parameters()).device, fastest_memory_format(generator)
    networks = [generator, discriminator] + ([back.generator, back.discriminator] if back else [])
    for network in networks:
        network.train().to(memory_format=memory_format)
    player = _player(generator, discriminator, data, config, run, back)
    average = WeightAverage(generator, config.ema_half_life_images)
    dropout = DropoutStream(generator, random)
    ahead = ahead_for(device, dropout.draw)
    batches = data.random_batches(random, config.batch_size, own_rows(config.batch_size), ahead)

    def step(images_shown: int) -> Losses:
        for schedule in player.schedules:
            schedule.set(images_shown)
        source, target = (moved(images, device, memory_format) for images in next(batches))
        with dropout.step():
            losses = player(source, target)
        average.update(images_shown + config.batch_size, config.batch_size)
        return losses

    state: dict[str, Stateful] = {"generator": generator, "average": average, "random": RandomStream(random)}
    curve = run.train(generator, step, state | player.state, config)
    sources = calibration_sources(data, run.stream("calibration"), config.batch_size, device)
    averaged = recalibrate_batch_norm_(average.averaged(generator), sources)
    for network in networks:
        network.requires_grad_(True).eval()
    return TrainedTranslation(averaged, discriminator, curve, back)


def calibration_sources(
    data: PairArray, random: torch.Generator, batch_size: int, device: torch.device
) -> Iterator[Float[Tensor, "n c_s h_s w_s"]]:
    """Yield batches of `CALIBRATION_IMAGES` sources in all, as large as those of the training.

    At least two sources a batch: a first feature map of one pixel has no variance in a batch of one.
    """
    batch_size = max(batch_size, min(2, len(data)))
    batches = data.random_batches(random, batch_size)
    for source, _ in itertools.islice(batches, -(-CALIBRATION_IMAGES // batch_size)):
        yield source.to(device)


def _player(
    generator: nn.Module,
    discriminator: nn.Module,
    data: PairArray,
    config: TranslationTraining,
    run: TrainingRun,
    back: WayBack | None,
) -> PairedStep | CycleStep:
    if config.framework == "cyclegan":
        if back is None:
            raise ValueError("cyclegan trains two generators: give the way back, target -> source")
        return CycleStep(generator, discriminator, back, config, run)
    if back is not None:
        raise ValueError(f"{config.framework} has no way back; only cyclegan has")
    if not data.paired:
        raise ConfigError(
            f"framework '{config.framework}' needs a target for every source, but the data is unpaired; "
            "set training.framework to 'cyclegan', or choose a paired or semantic data.source"
        )
    perceptual = _perceptual(config)
    if perceptual is not None:
        perceptual.to(next(generator.parameters()).device)
    return PairedStep(generator, discriminator, config, perceptual)


def _perceptual(config: TranslationTraining) -> PerceptualLoss | None:
    if config.lambda_perceptual == 0 or config.perceptual_weights is None:
        return None
    return PerceptualLoss(Path(config.perceptual_weights))
