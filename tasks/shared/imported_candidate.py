"""A candidate that was trained elsewhere: the imported generator is taken as it is."""

import torch
from torch import nn

from ganpress.config.training_section import CandidateConfig
from ganpress.config.translation_section import TranslationTraining
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import save_model
from ganpress.imported.import_card import imported_model, load_imported
from ganpress.tracking import StageRun
from models.family import Canvas
from tasks.shared.conditional_stages import discriminator_blueprint
from tasks.shared.generator_training import canvas, deliver, fresh, write_curve
from tasks.shared.stage import Stage


def deliver_imported(stage: Stage, run: StageRun, config: CandidateConfig) -> None:
    """Deliver the generator at `candidate.imported`, with an untrained discriminator for its students to train on.

    Raises:
        ConfigError: if the parameters train unconditional generators, or the generator does not draw this data.
    """
    if not isinstance(config.training, TranslationTraining):
        raise ConfigError(
            f"{stage.label}: imported generators are conditional; candidate.training must name a framework"
        )
    folder = stage.root / config.imported
    generator, blueprint = load_imported(stage.root, folder.name)
    there = canvas(stage)
    _check_shapes(stage, generator, there)
    path = imported_model(folder)
    run.uses_model(path)
    mirror = discriminator_blueprint(there, config.training)
    save_model(stage.out / "discriminator.safetensors", fresh(stage, mirror), mirror)
    write_curve(stage.out / "curves.csv", [])
    deliver(stage, run, generator, blueprint, {"train_images": 0}, {"generator": "imported", "from": config.imported})


@torch.no_grad()
def _check_shapes(stage: Stage, generator: nn.Module, there: Canvas) -> None:
    """Refuse data that the generator does not read or draw, before anything else fails on it."""
    wanted = (1, there.channels, there.height, there.width)
    try:
        drawn = tuple(generator(torch.zeros(1, *there.source_shape)).shape)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{stage.label}: the imported generator cannot read {there}: {reason}") from None
    if drawn != wanted:
        raise ConfigError(
            f"{stage.label}: the imported generator draws {drawn} of a source {there.source_shape}, targets are "
            f"{wanted}; set prepare.image_size and prepare.source_size to its sizes"
        )
