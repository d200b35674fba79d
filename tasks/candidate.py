"""Stage `candidate@X`: trains or imports one member of the teacher family."""

from ganpress.config.training_section import CandidateConfig
from ganpress.tracking import StageRun
from tasks.shared.adversarial import run_adversarial
from tasks.shared.imported_candidate import deliver_imported
from tasks.shared.rank_processes import training_main
from tasks.shared.stage import Stage


def work(stage: Stage, run: StageRun) -> None:
    """Train the candidate of this item, or use the imported one."""
    config = stage.section(CandidateConfig)
    item = stage.chosen(config.items)
    if item.imported:
        deliver_imported(stage, run, config)
    else:
        run_adversarial(stage, run, config.training, item)


def trains(stage: Stage) -> bool:
    """Return whether the candidate of this item is trained here."""
    return not stage.chosen(stage.section(CandidateConfig).items).imported


if __name__ == "__main__":
    raise SystemExit(training_main("candidate", work, trains))
