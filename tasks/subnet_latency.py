"""How the stage `search` knows the latency of a sub-generator: timed whole, or predicted from a table of layers."""

import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.config.search import LatencyRuntime, SearchConfig
from ganpress.data.inputs import open_inputs
from ganpress.edge.targets import TARGETS
from ganpress.edge.targets.target import require_installed
from ganpress.errors import ConfigError
from ganpress.latency import Latency, measure_latency
from ganpress.metrics.scoring import Generate
from ganpress.progress import ticker
from ganpress.search.latency_prediction import LatencyPredictor, sample_specs
from ganpress.search.latency_table import Deploy, LatencyTable
from ganpress.search.layers import Layer, trace_layers
from ganpress.search.score_book import ScoreBook
from ganpress.search.search import MeasureLatency
from models.builders import Blueprint, subnet_blueprint
from models.elastic import Spec, WidthSpace
from tasks.generator_training import prepared
from tasks.machine import processor_name
from tasks.stage import Stage

SAMPLE = "sample_latency_ms"
"""Quantity of the score book: a sub-generator timed whole for the table."""


def subnet_timer(
    stage: Stage, config: SearchConfig, blueprint: Blueprint, space: WidthSpace, book: ScoreBook, scratch: Path
) -> MeasureLatency | None:
    """Return what tells the milliseconds of a sub-generator on one thread; None where nothing asks for them.

    Weights do not matter to the time, so random ones are used.

    Args:
        stage: the search.
        config: its section.
        blueprint: of the supernet.
        space: its specs.
        book: keeps what was timed.
        scratch: a folder for the runtime's files.

    Raises:
        ConfigError: if the runtime is unknown, not installed, or cannot run the layers.
    """
    if not config.measures_latency:
        return None
    one = open_inputs(prepared(stage), "validation").draw(stage.seed, "latency", 1)
    deploy = deployer(config.latency_runtime, scratch)

    def network_of(spec: Spec) -> nn.Module:
        return subnet_blueprint(blueprint, spec).build().eval()

    def timed(spec: Spec) -> Latency:
        runner = {str(spec): deploy(network_of(spec), one)}
        return measure_latency(runner, one, config.latency_repeats)[str(spec)]

    if config.latency == "measured":
        return lambda spec: timed(spec).p50_ms

    def trace(spec: Spec) -> tuple[Layer, ...]:
        return trace_layers(lambda: network_of(spec), one.shape)

    table = LatencyTable(deploy, config.latency_repeats, table_file(stage, config.latency_runtime))
    specs = sample_specs(space, config.latency_samples, stage.seed)
    with ticker("latency table", len(specs), "subnets") as progress:
        for spec in specs:
            if book.get(spec, SAMPLE) is None:
                book.add(spec, SAMPLE, timed(spec).least_ms)  # as the table's layers
            progress.advance(1)
    return LatencyPredictor(trace, table, {spec: book.get(spec, SAMPLE) or 0.0 for spec in specs})


def deployer(runtime: LatencyRuntime, scratch: Path) -> Deploy:
    """Return what puts a network into a runtime of one thread, float32.

    Raises:
        MissingTarget: if the runtime is not installed.
        ConfigError: if it is unknown.
    """
    if runtime == "torch":
        return lambda network, _example: network
    if runtime not in TARGETS:
        raise ConfigError(f"search.latency_runtime '{runtime}' is no target; known: torch, {', '.join(TARGETS)}")
    target, numbers = TARGETS[runtime], itertools.count()
    require_installed(target)

    def deploy(network: nn.Module, example: Tensor) -> Generate:
        path = scratch / f"{next(numbers)}{target.suffix}"
        target.write(network, path, example)
        return target.open(path, threads=1)

    return deploy


def table_file(stage: Stage, runtime: LatencyRuntime) -> Path:
    """Where measured layers are kept: one file for each processor and version of the runtime."""
    version = f"torch {torch.__version__}" if runtime == "torch" else TARGETS[runtime].version()
    digest = hashlib.sha256(f"{processor_name()}/{version}".encode()).hexdigest()
    return stage.checkpoints.parent / "latency" / f"{runtime}-{digest[:16]}.jsonl"


def prediction_facts(predictor: LatencyPredictor, config: SearchConfig) -> Mapping[str, Any]:
    """What `best.json` says of the predictor: its errors, and the samples that tell them."""
    error = predictor.error
    rank = {} if error.rank_correlation is None else {"latency_rank_correlation": error.rank_correlation}
    return {
        "latency_error_median": error.median,
        "latency_error_p90": error.p90,
        **rank,
        "latency_runtime": config.latency_runtime,
        "latency_layers": predictor.layers,
        "latency_samples": [
            {"spec": str(one.spec), "measured_ms": one.measured_ms, "predicted_ms": one.predicted_ms}
            for one in error.samples
        ],
    }
