"""Stage `validate`: the data gate."""

import functools
import json

from ganpress.config.data_section import ValidateConfig
from ganpress.data.gate.pair_validation import validate_data
from ganpress.tracking import StageRun
from tasks.shared.former_data import former_version
from tasks.shared.stage import Stage, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Check the raw images; a failed gate writes its verdict and stops the chain."""
    run.uses_raw_data()
    former = functools.partial(former_version, stage)
    result = validate_data(stage.root / "data", stage.section(ValidateConfig), stage.out, former)
    metrics = json.dumps(result.metrics(), indent=2, sort_keys=True)
    (stage.out / "metrics.json").write_text(metrics + "\n", encoding="utf-8")
    run.log_metrics(result.metrics())
    run.log_file(stage.out / "summary.html")
    run.log_file(stage.out / "validation.json")
    result.require_success(stage.out.relative_to(stage.root))


if __name__ == "__main__":
    raise SystemExit(stage_main("validate", work))
