"""Stage `teacher`: selects the best candidate by a metric as the teacher (Aguinaldo et al. 2019, section 3.1)."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

from ganpress.config.training_section import CandidateConfig, TeacherConfig
from ganpress.metrics.ranking import higher_is_better
from ganpress.tracking import StageRun
from tasks.shared.candidate_scoring import quick_scoring
from tasks.shared.generator_training import parameter_count, write_json
from tasks.shared.item_generators import load_generator
from tasks.shared.stage import Stage, stage_main
from tasks.shared.teacher_gate import TeacherQuality, teacher_quality


@dataclass(frozen=True)
class ScoredCandidate:
    """One member of the teacher family and its score."""

    item: str
    generator: str
    """`family:spec`."""
    depth: int | None
    """Depth of a W-DCGAN; None for other families."""
    parameters: int
    score: float


def work(stage: Stage, run: StageRun) -> None:
    """Score every candidate against the validation split and copy the best."""
    config = stage.section(TeacherConfig)
    items = stage.section(CandidateConfig, "candidate").items
    scorer = quick_scoring(stage, config.metric, config.images).open()
    run.uses_data(stage.artifact("prepare") / "validation.npy")
    scored = []
    for item, settings in items.items():
        generator, _ = load_generator(stage, f"candidate/{item}")
        run.uses_model(_folder(stage, item) / "generator.safetensors")
        name = "imported" if settings.imported else settings.generator_name
        scored.append(
            ScoredCandidate(item, name, settings.depth, parameter_count(generator), scorer(generator.to(stage.device)))
        )
    sign = 1 if higher_is_better(config.metric) else -1
    best = max(scored, key=lambda candidate: sign * candidate.score)
    quality = None
    if config.has_limits:
        generator, _ = load_generator(stage, f"candidate/{best.item}")
        quality = teacher_quality(scorer, generator.to(stage.device))
    _deliver(stage, run, scored, best, scorer.name, quality)
    if quality is not None:  # The outputs are kept, so that a person can look at the refused teacher.
        quality.require(config)


def _folder(stage: Stage, item: str) -> Path:
    return stage.artifact(f"candidate/{item}")


def _deliver(
    stage: Stage,
    run: StageRun,
    scored: list[ScoredCandidate],
    best: ScoredCandidate,
    metric: str,
    quality: TeacherQuality | None,
) -> None:
    for name in ("generator.safetensors", "discriminator.safetensors"):
        shutil.copyfile(_folder(stage, best.item) / name, stage.out / name)
    with (stage.out / "selection.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["item", "generator", "depth", "parameters", "metric", "score", "selected"])
        for one in scored:
            chosen = int(one is best)
            writer.writerow([one.item, one.generator, one.depth, one.parameters, metric, f"{one.score:.6g}", chosen])
    path = stage.out / "generator.safetensors"
    facts: dict[str, float] = {
        metric: best.score,
        "parameters": best.parameters,
        "size_bytes": path.stat().st_size,
        "candidates": len(scored),
    }
    if quality is not None:
        facts |= {"fid_ratio": quality.fid_ratio, "recall": quality.recall}
    if best.depth is not None:
        facts["depth"] = best.depth
    write_json(stage.out / "metrics.json", facts)
    run.log_metrics(facts)
    run.produces_model(path, family="teacher", params={"selected": best.item, "metric": metric}, metrics=facts)


if __name__ == "__main__":
    raise SystemExit(stage_main("teacher", work))
