"""A candidate that was trained elsewhere: the imported generator is taken as it is."""

from ganpress.checkpoint import load_model, save_model
from ganpress.config.training import CandidateConfig
from ganpress.config.translation import TranslationTraining
from ganpress.errors import ConfigError
from ganpress.tracking import StageRun
from tasks.generator_training import canvas, deliver, fresh
from tasks.stage import Stage, require
from tasks.translation import discriminator_blueprint


def deliver_imported(stage: Stage, run: StageRun, config: CandidateConfig) -> None:
    """Deliver the generator at `candidate.imported`, with an untrained discriminator for its students to train on.

    Raises:
        ConfigError: if the parameters train unconditional generators, or the generator does not draw this data.
    """
    if not isinstance(config.training, TranslationTraining):
        raise ConfigError(
            f"{stage.label}: imported generators are conditional; candidate.training must name a framework"
        )
    path = require(stage.root / config.imported / "generator.pt", "")
    generator, blueprint = load_model(path)
    there = canvas(stage)
    run.uses_model(path)
    mirror = discriminator_blueprint(there, config.training)
    save_model(stage.out / "discriminator.pt", fresh(stage, mirror), mirror)
    (stage.out / "curves.csv").write_text("images\n0\n", encoding="utf-8")
    deliver(stage, run, generator, blueprint, {"train_images": 0}, {"generator": "imported", "from": config.imported})
