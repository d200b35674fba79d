"""What the stages of conditional generators share: discriminators for the data, files that a training depends on."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ganpress.checkpoint import load_model
from ganpress.config.translation import FeatureDistillation, TranslationTraining
from models.builders import Blueprint
from models.families import FAMILIES, Argument, Canvas
from tasks.generator_training import canvas, prepared
from tasks.stage import Stage


@dataclass(frozen=True)
class BackBlueprints:
    """CycleGAN's other half, target -> source."""

    generator: Blueprint
    discriminator: Blueprint


def discriminator_of(stage: Stage, config: TranslationTraining) -> Blueprint:
    """The discriminator of targets: conditional on the source, except CycleGAN's."""
    return _discriminator(canvas(stage), config)


def way_back(stage: Stage, generator: Blueprint, config: TranslationTraining) -> BackBlueprints:
    """The generator of the same size from targets to sources, and the discriminator of sources."""
    there = canvas(stage)
    swapped = {"in_channels": there.channels, "out_channels": there.reads}
    back = Canvas(there.reads, *there.source_shape[1:], there.channels, there.height, there.width)
    return BackBlueprints(
        Blueprint(generator.builder, generator.arguments | swapped),
        _discriminator(back, config),
    )


def _discriminator(there: Canvas, config: TranslationTraining) -> Blueprint:
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
    """The files of the train split, which decide a training's result."""
    folder = prepared(stage)
    return [folder / "train.npy", *folder.glob("train_sources.npy")]


def teacher_discriminator(stage: Stage) -> nn.Module | None:
    """The teacher's own discriminator, trained on with its student; None where the teacher was imported without."""
    path = stage.artifact("teacher") / "discriminator.pt"
    return load_model(path)[0] if path.exists() else None


def distilled_taps(config: FeatureDistillation, builder: str) -> tuple[str, ...]:
    """The layers whose features are matched: those that the parameters name, else the published ones of the family."""
    if config.taps is not None:
        return config.taps
    return next((family.taps for family in FAMILIES.values() if family.builder == builder), ())
