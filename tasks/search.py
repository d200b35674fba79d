"""Stage `search`: score sub-generators of the supernet without retraining, under a hard budget."""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ganpress.checkpoint import load_model
from ganpress.config.search import SearchConfig
from ganpress.cost import Cost, generator_cost
from ganpress.metrics.judge import load_judge
from ganpress.metrics.scoring import array_statistics, draw_latents, quick_score
from ganpress.search import Budget, ScoreBook, ScoredSpec, SearchResult, search_specs
from ganpress.tracking import StageRun
from models.elastic import ElasticWdcganGenerator
from models.wdcgan import LATENT, WdcganSpec, wdcgan_generator
from tasks.generator_training import identity, write_json
from tasks.stage import Stage, require, stage_main

CALIBRATION = "subnet-calibration"
"""Purpose of the latents that normalisation statistics are measured on; `subnet` extracts with the same."""


def work(stage: Stage, run: StageRun) -> None:
    """Search, and write all scores, the front and the best."""
    config = stage.section(SearchConfig)
    supernet_file = require(stage.artifact("supernet") / "supernet.pt", "supernet")
    supernet, blueprint = load_model(supernet_file, "elastic_wdcgan_generator")
    assert isinstance(supernet, ElasticWdcganGenerator)
    size = blueprint.arguments["size"]
    assert isinstance(size, int)
    run.uses_model(supernet_file)
    run.uses_data(stage.artifact("prepare") / "validation.npy")
    score_of, metric = _scorer(stage, config, supernet)
    inputs = [supernet_file, stage.artifact("judge") / "judge.pt", stage.artifact("prepare") / "validation.npy"]
    book = ScoreBook(stage.checkpoints / f"search-{identity(stage, inputs)[:16]}.jsonl")
    result = search_specs(
        supernet.space,
        _coster(size, supernet.channels),
        score_of,
        config.metric == "is",
        Budget(config.max_macs, config.max_parameters),
        config.exhaustive_limit,
        config.population,
        config.generations,
        stage.seed,
        book,
    )
    _deliver(stage, run, result, metric)
    book.discard()


def _scorer(
    stage: Stage, config: SearchConfig, supernet: ElasticWdcganGenerator
) -> tuple[Callable[[WdcganSpec], float], str]:
    """Score a spec by the judge on the validation split, with statistics calibrated for it; and the score's name."""
    judge = load_judge(require(stage.artifact("judge") / "judge.pt", "judge"))
    real = array_statistics(stage.artifact("prepare") / "validation.npy", judge)
    calibration = draw_latents(stage.seed, CALIBRATION, config.calibration_images)

    def score_of(spec: WdcganSpec) -> float:
        statistics = supernet.calibrate(calibration, spec)

        def generate(z: Tensor) -> Tensor:
            images: Tensor = supernet(z, spec, statistics)
            return images

        return quick_score(generate, judge, config.metric, config.images, stage.seed, real)

    split = "" if config.metric == "is" else "_validation"
    return score_of, f"{config.metric}_{config.images}{split}_{judge.name}"


def _coster(size: int, channels: int) -> Callable[[WdcganSpec], Cost]:
    @cache
    def cost_of(spec: WdcganSpec) -> Cost:
        return generator_cost(wdcgan_generator(str(spec), size, channels), torch.zeros(1, LATENT))

    return cost_of


def _deliver(stage: Stage, run: StageRun, result: SearchResult, metric: str) -> None:
    on_front = {one.spec for one in result.front}
    _write_table(stage.out / "scores.csv", result.scored, metric, on_front)
    _write_table(stage.out / "front.csv", result.front, metric, on_front)
    best = result.best
    facts: dict[str, float] = {metric: best.score, "parameters": best.parameters, "macs_exact": best.macs_exact}
    counts = {"scored": len(result.scored), "front": len(result.front)}
    write_json(stage.out / "best.json", {"spec": str(best.spec), "metric": metric, **facts, **counts})
    run.log_metrics(facts | counts)
    for name in ("scores.csv", "front.csv", "best.json"):
        run.log_file(stage.out / name)


def _write_table(path: Path, rows: list[ScoredSpec], metric: str, on_front: set[WdcganSpec]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["spec", "parameters", "macs_exact", metric, "on_front"])
        for one in sorted(rows, key=lambda row: row.macs_exact):
            on = int(one.spec in on_front)
            writer.writerow([one.spec, one.parameters, one.macs_exact, f"{one.score:.6g}", on])


if __name__ == "__main__":
    raise SystemExit(stage_main("search", work))
