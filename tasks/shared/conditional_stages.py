"""Functions of the stages of conditional generators: discriminators for the data, and files that a training depends
on.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ganpress.config.translation_section import FeatureDistillation, TranslationTraining
from ganpress.data.prepared.pairs import open_pairs
from ganpress.files.checkpoint import load_model
from ganpress.training.distillation_step import DistillationSetup
from models.builders import Blueprint
from models.families import family_of
from models.family import Argument, Canvas
from tasks.shared.generator_training import fresh, prepared
from tasks.shared.stage import Stage


@dataclass(frozen=True)
class BackBlueprints:
    """The reverse networks of CycleGAN, target -> source."""

    generator: Blueprint
    discriminator: Blueprint


def way_back(there: Canvas, generator: Blueprint, config: TranslationTraining) -> BackBlueprints:
    """Return the generator of the same size from targets to sources, and the discriminator of sources."""
    back = there.reversed
    reads_and_draws = {"in_channels": back.reads, "out_channels": back.channels}
    return BackBlueprints(
        Blueprint(generator.builder, generator.arguments | reads_and_draws),
        discriminator_blueprint(back, config),
    )


def discriminator_blueprint(there: Canvas, config: TranslationTraining) -> Blueprint:
    """Return the discriminator of a generator's images, which is conditional on the source, except for CycleGAN."""
    sees = there.channels + (0 if config.framework == "cyclegan" else there.reads)
    arguments: dict[str, Argument] = {
        "in_channels": sees,
        "ndf": config.ndf,
        "layers": config.discriminator_layers,
    }
    if config.framework == "spade":
        return Blueprint("multiscale_discriminator", arguments | {"scales": config.discriminator_scales})
    return Blueprint("patch_discriminator", arguments)


def data_inputs(stage: Stage) -> list[Path]:
    """Return the files of the train split, which decide a training's result."""
    folder = prepared(stage)
    return [folder / "train.npy", *folder.glob("train_sources.npy")]


def distillation_setup(
    stage: Stage, teacher: nn.Module, config: FeatureDistillation, builder: str
) -> DistillationSetup:
    """The inputs of distillation for networks of a builder: the teacher, a discriminator and the prepared pairs."""
    data = open_pairs(prepared(stage), "train")
    return DistillationSetup(teacher, opponent_of(stage, config), data, config, distilled_taps(config, builder))


def opponent_of(stage: Stage, config: FeatureDistillation) -> nn.Module | None:
    """Return the discriminator that a student is trained against; None if there is none, or if the teacher has none.

    A new one has the architecture of the teacher's.
    """
    path = stage.artifact("teacher") / "discriminator.safetensors"
    if not (config.needs_discriminator and path.exists()):
        return None
    inherited, blueprint = load_model(path)
    return fresh(stage, blueprint) if config.discriminator == "fresh" else inherited.to(stage.device)


def distilled_taps(config: FeatureDistillation, builder: str) -> tuple[str, ...]:
    """Return the layers whose features are matched: those in the parameters, else the published ones of the family."""
    if config.taps is not None:
        return config.taps
    family = family_of(builder)
    return family.taps if family is not None else ()
