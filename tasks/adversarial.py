"""The body of the two stages that train a GAN on data: `candidate` and `control`."""

from ganpress.checkpoint import save_model
from ganpress.config.training import GanTraining
from ganpress.data.arrays import open_split
from ganpress.tracking import StageRun
from ganpress.training.gan import train_gan
from models.builders import Blueprint
from tasks.generator_training import CurveLog, checkpointing, deliver, fresh, last_losses, write_curve
from tasks.stage import Stage, require


def run_gan(stage: Stage, run: StageRun, config: GanTraining, depth: int) -> None:
    """Train a W-DCGAN of `depth` with a discriminator of the same depth, and write its artifacts."""
    train_file = require(stage.artifact("prepare") / "train.npy", "prepare")
    images = open_split(train_file.parent, "train")
    shape: dict[str, int] = {"size": images.size, "channels": images.channels}
    blueprint = Blueprint("wdcgan_generator", {"spec": str(depth), **shape})
    mirror = Blueprint("wdcgan_discriminator", {"depth": depth, "normalise": config.gradient_penalty is None, **shape})
    run.uses_data(train_file)
    log = CurveLog(stage, run)
    trained = train_gan(
        log.start(fresh(stage, blueprint)),
        fresh(stage, mirror),
        images,
        config,
        stage.seed,
        stage.label,
        resume := checkpointing(stage, [train_file]),
        log,
    )
    log.complete(trained.curve)
    save_model(stage.out / "discriminator.pt", trained.discriminator, mirror)
    write_curve(stage.out / "curves.csv", trained.curve)
    facts = {"depth": depth, "train_images": trained.curve[-1].images} | last_losses(trained.curve)
    deliver(stage, run, trained.generator, blueprint, facts, {"depth": depth} | config.model_dump())
    resume.path.unlink(missing_ok=True)
