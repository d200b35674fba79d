"""Stage `control@X`: a regular GAN of a student's size, trained without a teacher."""

from ganpress.config.training import ControlConfig
from ganpress.tracking import StageRun
from tasks.adversarial import run_gan
from tasks.stage import Stage, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Train the control of this item's depth."""
    config = stage.section(ControlConfig)
    run_gan(stage, run, config.training, stage.chosen(config.items).depth)


if __name__ == "__main__":
    raise SystemExit(stage_main("control", work))
