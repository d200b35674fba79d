"""The work of the two stages that train a generator against a discriminator on data: `candidate` and `control`."""

from dataclasses import dataclass

from torch import nn

from ganpress.config.training_section import GanTraining, GeneratorItem, JointTraining
from ganpress.config.translation_section import TranslationTraining
from ganpress.data.prepared.arrays import open_split
from ganpress.data.prepared.pairs import open_pairs
from ganpress.files.checkpoint import save_model
from ganpress.tracking import StageRun
from ganpress.training.cyclegan import WayBack
from ganpress.training.gan import train_gan
from ganpress.training.loop import CurvePoint, TrainingRun
from ganpress.training.translation_training import train_translation
from models.builders import Blueprint, width_numbers
from models.family import Argument
from tasks.shared.conditional_stages import data_inputs, discriminator_blueprint, way_back
from tasks.shared.generator_training import (
    TrackedTraining,
    canvas,
    deliver,
    fresh,
    generator_of,
    prepared,
)
from tasks.shared.stage import Stage


@dataclass(frozen=True)
class Trained:
    """A generator, the discriminator that it was trained against, and the training curve."""

    generator: nn.Module
    discriminator: nn.Module
    mirror: Blueprint
    curve: list[CurvePoint]


def run_adversarial(
    stage: Stage, run: StageRun, config: GanTraining | TranslationTraining, item: GeneratorItem
) -> None:
    """Train the generator of `item` with its own discriminator, and write its artifacts."""
    blueprint = generator_of(stage, item.generator_name)
    training = TrackedTraining(stage, run, data_inputs(stage))
    generator = training.start(fresh(stage, blueprint))
    if isinstance(config, TranslationTraining):
        trained = _translation(stage, generator, blueprint, config, training.run)
    else:
        trained = _unconditional(stage, generator, blueprint, config, training.run)
    facts = training.note(trained.curve)
    save_model(stage.out / "discriminator.safetensors", trained.discriminator, trained.mirror)
    named: dict[str, object] = {"generator": item.generator_name}
    if item.depth is not None:
        facts["depth"] = named["depth"] = item.depth
    deliver(stage, run, trained.generator, blueprint, facts, named | config.model_dump())
    training.forget()


def _unconditional(
    stage: Stage, generator: nn.Module, blueprint: Blueprint, config: GanTraining, run: TrainingRun
) -> Trained:
    """Train a W-DCGAN with a discriminator whose width follows from its widest layer, or is configured."""
    images = open_split(prepared(stage), "train")
    mirror = gan_discriminator(config, images.size, images.channels, max(width_numbers(blueprint)))
    trained = train_gan(generator, fresh(stage, mirror), images, config, run)
    return Trained(trained.generator, trained.discriminator, mirror, trained.curve)


def gan_discriminator(config: GanTraining | JointTraining, size: int, channels: int, depth: int) -> Blueprint:
    """Return the discriminator of images from latents, with the configured depth, else `depth`."""
    shape: dict[str, Argument] = {"size": size, "channels": channels}
    depth = config.discriminator_depth or depth
    return Blueprint("wdcgan_discriminator", {"depth": depth, "normalise": config.gradient_penalty is None, **shape})


def _translation(
    stage: Stage, generator: nn.Module, blueprint: Blueprint, config: TranslationTraining, run: TrainingRun
) -> Trained:
    """Train a conditional generator by pix2pix, CycleGAN or SPADE."""
    mirror = discriminator_blueprint(canvas(stage), config)
    back = way_back(canvas(stage), blueprint, config) if config.framework == "cyclegan" else None
    networks = None if back is None else WayBack(fresh(stage, back.generator), fresh(stage, back.discriminator))
    data = open_pairs(prepared(stage), "train")
    trained = train_translation(generator, fresh(stage, mirror), data, config, run, networks)
    return Trained(trained.generator, trained.discriminator, mirror, trained.curve)
