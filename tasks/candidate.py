"""Stage `candidate@X`: one GAN of the teacher family."""

from ganpress.config.training import CandidateConfig
from ganpress.tracking import StageRun
from tasks.adversarial import run_gan
from tasks.stage import Stage, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Train the candidate of this item's depth."""
    config = stage.section(CandidateConfig)
    run_gan(stage, run, config.training, stage.chosen(config.items).depth)


if __name__ == "__main__":
    raise SystemExit(stage_main("candidate", work))
