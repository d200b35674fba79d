"""Stage `gates`: fails the chain if a measured result breaks a limit of params.yaml, after all outputs are kept."""

from ganpress.errors import QualityGateFailed
from ganpress.metrics.gate_verdict import VERDICT, read_verdict
from ganpress.tracking import StageRun
from tasks.shared.stage import Stage, require, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Enforce the verdict of the report; all other stages have finished when a gate fails.

    Raises:
        QualityGateFailed: if a gate failed; the message names every failed gate.
    """
    require(stage.root / VERDICT, "report")
    verdict = read_verdict(stage.root)
    if verdict is None:
        raise QualityGateFailed("the report is not of the last evaluation; run `dvc repro report`")
    run.log_metrics({"gates": verdict.judged, "gates_failed": len(verdict.failed)})
    if verdict.sentence is not None:
        raise QualityGateFailed(
            f"{verdict.sentence}. All outputs are kept; see artifacts/report/report.html, "
            "fix what made them or the limits in params.yaml: gates"
        )


if __name__ == "__main__":
    raise SystemExit(stage_main("gates", work))
