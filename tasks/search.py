"""Stage `search`: scores sub-generators of the supernet without retraining, under a hard budget."""

import csv
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from ganpress.basics.device import chosen_device
from ganpress.config.search_section import SearchConfig
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.files.checkpoint import load_model
from ganpress.performance.generator_cost import Cost, generator_cost
from ganpress.search.budgeted_search import SearchResult, search_specs
from ganpress.search.latency_prediction import LatencyPredictor
from ganpress.search.score_book import ScoreBook
from ganpress.search.spec_costs import ScoredSpec
from ganpress.tracking import StageRun
from models.builders import Blueprint, subnet_blueprint
from models.elastic import Elastic, Spec
from tasks.shared.candidate_scoring import QuickScoring, quick_scoring
from tasks.shared.generator_training import identity, prepared, write_json
from tasks.shared.stage import Stage, require, stage_main
from tasks.shared.subnet_latency import prediction_facts, subnet_timer

CALIBRATION = "subnet-calibration"
"""Purpose of the inputs on which normalisation statistics are measured; `subnet` uses the same for extraction."""


@dataclass(frozen=True)
class SubnetScoring:
    """Builds the scorer of sub-generators; paths and numbers only, so that each worker can build its own."""

    supernet: Path
    scoring: QuickScoring
    calibration_images: int

    def __call__(self) -> Callable[[Spec], float]:
        """Load the supernet, the judge and the inputs."""
        device = chosen_device()  # of the process that scores, which may be on another machine
        of = replace(self.scoring, device=device)
        supernet = load_supernet(self.supernet)[0].to(device)
        scorer = of.open()
        calibration = calibration_inputs(of.prepared, of.seed, self.calibration_images).to(device)

        def score(spec: Spec) -> float:
            statistics = supernet.calibrate(calibration, spec)

            def generate(x: Tensor) -> Tensor:
                images: Tensor = supernet(x.to(device), spec, statistics)
                return images

            return scorer(generate)

        return score


def load_supernet(path: Path) -> tuple[Elastic, Blueprint]:
    """Load a supernet in eval mode.

    Raises:
        CheckpointError: if the file contains anything else.
    """
    supernet, blueprint = load_model(path, "elastic")
    assert isinstance(supernet, Elastic)
    return supernet, blueprint


def calibration_inputs(prepared_dir: Path, seed: int, images: int) -> Tensor:
    """Return inputs (n, …) from the train split on which the statistics of sub-generators are measured."""
    return open_inputs(prepared_dir, "train").draw(seed, CALIBRATION, images)


def work(stage: Stage, run: StageRun) -> None:
    """Search, and write all scores, the Pareto front and the best sub-generator."""
    config = stage.section(SearchConfig)
    supernet_file = require(stage.artifact("supernet") / "supernet.safetensors", "supernet")
    supernet, blueprint = load_supernet(supernet_file)
    run.uses_model(supernet_file)
    run.uses_data(prepared(stage) / "validation.npy")
    scoring = quick_scoring(stage, config.metric, config.images)
    folder = prepared(stage)
    inputs = [supernet_file, scoring.judge, folder / "validation.npy", *folder.glob("*_sources.npy")]
    book = ScoreBook(stage.checkpoints / f"search-{identity(stage, inputs)[:16]}.jsonl")
    with tempfile.TemporaryDirectory(prefix="ganpress-search-") as scratch:
        timer = subnet_timer(stage, config, blueprint, supernet.space, book, Path(scratch))
        result = search_specs(
            supernet.space,
            _coster(blueprint, stage),
            SubnetScoring(supernet_file, scoring, config.calibration_images),
            _with_workers(config, stage),
            stage.seed,
            timer,
            book,
        )
    prediction = prediction_facts(timer, config) if isinstance(timer, LatencyPredictor) else {}
    _deliver(stage, run, result, scoring.open().name, prediction)
    book.discard()


def _with_workers(config: SearchConfig, stage: Stage) -> SearchConfig:
    """Return one process for a GPU, unless the parameters give a number, because each process would hold a copy of the
    networks.
    """
    if config.workers is not None or stage.device.type == "cpu":
        return config
    return config.model_copy(update={"workers": 1})


def _coster(blueprint: Blueprint, stage: Stage) -> Callable[[Spec], Cost]:
    example = open_inputs(prepared(stage), "validation").example()

    @cache
    def cost_of(spec: Spec) -> Cost:
        return generator_cost(subnet_blueprint(blueprint, spec).build(), example)

    return cost_of


def _deliver(stage: Stage, run: StageRun, result: SearchResult, metric: str, prediction: Mapping[str, Any]) -> None:
    on_front = {one.spec for one in result.front}
    _write_table(stage.out / "scores.csv", result.scored, metric, on_front)
    _write_table(stage.out / "front.csv", result.front, metric, on_front)
    best = result.best
    facts: dict[str, float] = {metric: best.score} | _costs(best)
    counts = {
        "scored": len(result.scored),
        "front": len(result.front),
    }
    content: dict[str, Any] = {"spec": str(best.spec), "metric": metric, **facts, **counts, **prediction}
    write_json(stage.out / "best.json", content)
    speed = {"subnets_per_second": result.speed.per_second, "workers": result.speed.processes}
    errors = {name: value for name, value in prediction.items() if isinstance(value, float)}
    run.log_metrics(facts | counts | speed | errors)
    for name in ("scores.csv", "front.csv", "best.json"):
        run.log_file(stage.out / name)


def _costs(one: ScoredSpec) -> dict[str, float]:
    of = one.costs
    costs: dict[str, float] = {"parameters": of.parameters, "macs_exact": of.macs_exact, "size_bytes": of.size_bytes}
    return costs if of.latency_ms is None else costs | {"latency_ms_p50": of.latency_ms}


def _write_table(path: Path, rows: list[ScoredSpec], metric: str, on_front: set[Spec]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["spec", *_costs(rows[0]), metric, "on_front"])
        for one in sorted(rows, key=lambda row: row.costs.macs_exact):
            on = int(one.spec in on_front)
            writer.writerow([one.spec, *(_number(value) for value in _costs(one).values()), f"{one.score:.6g}", on])


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


if __name__ == "__main__":
    raise SystemExit(stage_main("search", work))
