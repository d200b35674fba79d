"""Stage `prepare`: converts raw images that passed the gate to one memory-mapped array per split."""

from ganpress.config.data_section import PrepareConfig
from ganpress.data.gate.verdict import require_passed_gate
from ganpress.data.prepared.pair_preparation import prepare_data
from ganpress.tracking import StageRun
from tasks.shared.stage import Stage, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Resize, split and write the arrays."""
    require_passed_gate(stage.artifact("validate") / "validation.json")
    run.uses_raw_data()
    meta = prepare_data(stage.root / "data", stage.section(PrepareConfig), stage.seed, stage.out)
    run.log_metrics({f"{split}_images": count for split, count in meta.counts.items()})
    run.log_file(stage.out / "meta.json")


if __name__ == "__main__":
    raise SystemExit(stage_main("prepare", work))
