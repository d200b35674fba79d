"""Stage `report`: writes an offline page, the same report in Markdown with pictures, the headline numbers and the
verdict of the gates.
"""

import json
import shutil
from dataclasses import replace

from ganpress.report.headline import summary
from ganpress.report.page import build_report
from ganpress.tracking import StageRun
from tasks.shared.gate_inputs import gate_facts, judge_evaluation
from tasks.shared.report_inputs import read_inputs
from tasks.shared.stage import Stage, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Read all results, check the gates, draw the figures and write the report; a failed gate fails the stage `gates`,
    not this one.
    """
    inputs = read_inputs(stage)
    table = {one.reference: one.metrics for one in inputs.generators}
    verdict, results = judge_evaluation(stage, inputs.params, table)
    inputs = replace(inputs, verdict=verdict, gates=gate_facts(results))
    report = build_report(inputs)
    pictures = stage.out / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)  # These pictures are of generators that no longer exist.
    pictures.mkdir()
    for name, png in report.pictures.items():
        (pictures / name).write_bytes(png)
    (stage.out / "report.html").write_text(report.html, encoding="utf-8")
    (stage.out / "report.md").write_text(report.markdown, encoding="utf-8")
    headline = summary(inputs)
    (stage.out / "summary.json").write_text(json.dumps(headline, indent=2) + "\n", encoding="utf-8")
    run.log_metrics({name: value for name, value in headline.items() if isinstance(value, int | float)})
    for name in ("report.html", "summary.json"):
        run.log_file(stage.out / name)


if __name__ == "__main__":
    raise SystemExit(stage_main("report", work))
