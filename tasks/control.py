"""Stage `control@X`: trains a regular GAN of a student's size without a teacher."""

from ganpress.config.training_section import ControlConfig
from ganpress.tracking import StageRun
from tasks.shared.adversarial import run_adversarial
from tasks.shared.rank_processes import training_main
from tasks.shared.stage import Stage


def work(stage: Stage, run: StageRun) -> None:
    """Train the control of this item."""
    config = stage.section(ControlConfig)
    run_adversarial(stage, run, config.training, stage.chosen(config.items))


if __name__ == "__main__":
    raise SystemExit(training_main("control", work))
