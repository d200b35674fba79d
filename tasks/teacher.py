"""Stage `teacher`: the best candidate by metric becomes the teacher (Aguinaldo et al. 2019, section 3.1)."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

from ganpress.checkpoint import load_model
from ganpress.config.training import CandidateConfig, TeacherConfig
from ganpress.metrics.judge import load_judge
from ganpress.metrics.scoring import array_statistics, quick_score
from ganpress.tracking import StageRun
from tasks.generator_training import parameter_count, write_json
from tasks.stage import Stage, require, stage_main


@dataclass(frozen=True)
class ScoredCandidate:
    """One member of the teacher family and its score."""

    item: str
    depth: int
    parameters: int
    score: float


def work(stage: Stage, run: StageRun) -> None:
    """Score every candidate against the validation split and copy the best."""
    config = stage.section(TeacherConfig)
    items = stage.section(CandidateConfig, "candidate").items
    judge = load_judge(require(stage.artifact("judge") / "judge.pt", "judge"))
    real = array_statistics(stage.artifact("prepare") / "validation.npy", judge)
    scored = []
    for item, settings in items.items():
        path = require(_folder(stage, item) / "generator.pt", f"candidate@{item}")
        run.uses_model(path)
        generator, _ = load_model(path)
        score = quick_score(generator, judge, config.metric, config.images, stage.seed, real)
        scored.append(ScoredCandidate(item, settings.depth, parameter_count(generator), score))
    sign = 1 if config.metric == "is" else -1
    best = max(scored, key=lambda candidate: sign * candidate.score)
    split = "" if config.metric == "is" else "_validation"
    _deliver(stage, run, scored, best, f"{config.metric}_{config.images}{split}_{judge.name}")


def _folder(stage: Stage, item: str) -> Path:
    return stage.artifact(f"candidate/{item}")


def _deliver(stage: Stage, run: StageRun, scored: list[ScoredCandidate], best: ScoredCandidate, metric: str) -> None:
    for name in ("generator.pt", "discriminator.pt"):
        shutil.copyfile(_folder(stage, best.item) / name, stage.out / name)
    with (stage.out / "selection.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["item", "depth", "parameters", "metric", "score", "selected"])
        for one in scored:
            chosen = int(one is best)
            writer.writerow([one.item, one.depth, one.parameters, metric, f"{one.score:.6g}", chosen])
    path = stage.out / "generator.pt"
    facts = {
        metric: best.score,
        "depth": best.depth,
        "parameters": best.parameters,
        "size_bytes": path.stat().st_size,
        "candidates": len(scored),
    }
    write_json(stage.out / "metrics.json", facts)
    run.log_metrics(facts)
    run.produces_model(path, family="teacher", params={"selected": best.item, "metric": metric}, metrics=facts)


if __name__ == "__main__":
    raise SystemExit(stage_main("teacher", work))
