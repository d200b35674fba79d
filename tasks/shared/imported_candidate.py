"""Takes a generator that was trained elsewhere as a candidate, unchanged."""

import torch
from torch import nn

from ganpress.config.training_section import CandidateConfig, GanTraining
from ganpress.config.translation_section import TranslationTraining
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import save_model
from ganpress.imported.import_card import imported_model, load_imported
from ganpress.tracking import StageRun
from models.builders import Blueprint
from models.family import Canvas, latent_of
from tasks.shared.adversarial import gan_discriminator
from tasks.shared.conditional_stages import discriminator_blueprint
from tasks.shared.generator_training import canvas, deliver, fresh, write_curve
from tasks.shared.stage import Stage

DISCRIMINATOR_DEPTH = 16
"""Default depth of a discriminator for an imported generator of latents, which has no depth of its own."""


def deliver_imported(stage: Stage, run: StageRun, config: CandidateConfig) -> None:
    """Write the generator at `candidate.imported` as the candidate, with an untrained discriminator for training its
    students.

    Raises:
        ConfigError: if the input or output of the generator does not fit `candidate.training` or this data.
    """
    folder = stage.root / config.imported
    generator, blueprint = load_imported(stage.root, folder.name)
    there = canvas(stage)
    _check_shapes(stage, generator, there)
    path = imported_model(folder)
    run.uses_model(path)
    mirror = _mirror(stage, there, config.training)
    save_model(stage.out / "discriminator.safetensors", fresh(stage, mirror), mirror)
    write_curve(stage.out / "curves.csv", [])
    deliver(stage, run, generator, blueprint, {"train_images": 0}, {"generator": "imported", "from": config.imported})


def _mirror(stage: Stage, there: Canvas, training: GanTraining | TranslationTraining) -> Blueprint:
    """Return the discriminator of candidates with this training."""
    if isinstance(training, TranslationTraining):
        return discriminator_blueprint(there, training)
    if there.height != there.width:
        raise ConfigError(f"{stage.label}: discriminators of images from latents need square images, found {there}")
    return gan_discriminator(training, there.height, there.channels, DISCRIMINATOR_DEPTH)


@torch.no_grad()
def _check_shapes(stage: Stage, generator: nn.Module, there: Canvas) -> None:
    """Refuse data that does not fit the generator's input or output, before anything else fails on it."""
    wanted = (1, there.channels, there.height, there.width)
    read = (1, *there.source_shape) if there.reads else (1, there.latent)
    own = latent_of(generator)
    if not there.reads and own != there.latent:
        raise ConfigError(
            f"{stage.label}: the imported generator reads latents of {own} numbers, but prepare.latent is "
            f"{there.latent}; set "
            f"prepare.latent to {own}"
        )
    try:
        drawn = tuple(generator(torch.zeros(read)).shape)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{stage.label}: the imported generator cannot read {there}: {reason}") from None
    if drawn != wanted:
        source = "of latents" if not there.reads else f"of a source {there.source_shape}"
        raise ConfigError(
            f"{stage.label}: the imported generator draws {drawn} {source}, but targets are {wanted}; set "
            f"prepare.image_size and prepare.{'source_size' if there.reads else 'channels'} to its sizes"
        )
