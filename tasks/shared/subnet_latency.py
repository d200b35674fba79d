"""Gives the stage `search` the latency of a sub-generator: timed as a whole, or predicted from a table of layers."""

import hashlib
import itertools
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.basics.progress import ticker
from ganpress.config.search_section import EAGER, SearchConfig
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.edge.forms.written_form import WrittenForm
from ganpress.edge.graphs.layer_graph import drawn
from ganpress.edge.targets.target import require_installed
from ganpress.metrics.scoring import Generate
from ganpress.performance.latency import Latency, measure_latency
from ganpress.registries import TARGETS
from ganpress.search.budgeted_search import MeasureLatency
from ganpress.search.latency_prediction import LatencyPredictor, sample_specs
from ganpress.search.latency_table import Deploy, LatencyTable
from ganpress.search.layer_runs import Layer, LayerNetwork, trace_layers
from ganpress.search.score_book import ScoreBook
from models.builders import Blueprint, subnet_blueprint
from models.elastic import Spec, WidthSpace
from tasks.shared.generator_training import prepared
from tasks.shared.machine import processor_name
from tasks.shared.stage import Stage

SAMPLE = "sample_latency_ms"
"""Quantity of the score book: latency of a sub-generator that is timed as a whole for the table."""
CALIBRATION_INPUTS = 2
"""Number of calibration inputs of `int8`, which do not affect the time."""
TABLE_FORMAT = "2"
"""Version of the table's files; it changes when the same layer would be measured differently."""


def subnet_timer(
    stage: Stage, config: SearchConfig, blueprint: Blueprint, space: WidthSpace, book: ScoreBook, scratch: Path
) -> MeasureLatency | None:
    """Return a function that gives the milliseconds of a sub-generator on one thread; None if latency is not needed.

    Weights do not affect the time, so random ones are used.

    Args:
        stage: the stage `search`.
        config: its section.
        blueprint: blueprint of the supernet.
        space: specs of the supernet.
        book: score book that keeps measured latencies.
        scratch: folder for the runtime's files.

    Raises:
        ConfigError: if the runtime is unknown, not installed, or cannot run the layers.
    """
    if not config.measures_latency:
        return None
    one = open_inputs(prepared(stage), "validation").draw(stage.seed, "latency", 1)
    ranges = open_inputs(prepared(stage), "train").draw(stage.seed, "latency-calibration", CALIBRATION_INPUTS)
    deploy = deployer(config.latency_runtime, scratch, config.latency_number_type, ranges)

    def network_of(spec: Spec) -> nn.Module:
        return subnet_blueprint(blueprint, spec).build().eval()

    def timed(spec: Spec) -> Latency:
        runner = {str(spec): deploy(network_of(spec), one)}
        return measure_latency(runner, one, config.latency_repeats)[str(spec)]

    if config.latency == "measured":
        return lambda spec: timed(spec).p50_ms

    written = written_form(config.latency_runtime, config.latency_number_type)

    def trace(spec: Spec) -> tuple[Layer, ...]:
        return trace_layers(lambda: written(network_of(spec), torch.empty(one.shape)), one.shape)

    table = LatencyTable(deploy, config.latency_repeats, table_file(stage, config))
    specs = sample_specs(space, config.latency_samples, stage.seed)
    with ticker("latency table", len(specs), "subnets") as progress:
        for spec in specs:
            if book.get(spec, SAMPLE) is None:
                book.add(spec, SAMPLE, timed(spec).least_ms)  # The settings are the same as for the table's layers.
            progress.advance(1)
    return LatencyPredictor(trace, table, {spec: book.get(spec, SAMPLE) or 0.0 for spec in specs})


def number_types(runtime: str) -> tuple[str, ...]:
    """Return the number types in which a runtime can be timed."""
    return ("float32",) if runtime == EAGER else TARGETS[runtime].number_types


def written_form(runtime: str, number_type: str) -> Callable[[nn.Module, Tensor], nn.Module]:
    """Return a function that rewrites a network for the runtime; torch gets it unchanged."""
    return (lambda network, _: network) if runtime == EAGER else WrittenForm(TARGETS[runtime], number_type)


def deployer(runtime: str, scratch: Path, number_type: str = "float32", calibration: Tensor | None = None) -> Deploy:
    """Return a function that loads a network into a runtime with one thread.

    Args:
        runtime: `torch`, or a target of `export`.
        scratch: folder for its files; each file is deleted after it is loaded.
        number_type: number type of the runtime.
        calibration: calibration inputs (n, …) of `int8`; those of single layers are random.

    Raises:
        MissingTarget: if the runtime is not installed.
    """
    if runtime == EAGER:
        return lambda network, _example: network
    target, numbers = TARGETS[runtime], itertools.count()
    require_installed(target)

    def deploy(network: nn.Module, example: Tensor) -> Generate:
        path, numbers_of, ranges = scratch / f"{next(numbers)}{target.suffix}", number_type, calibration
        if isinstance(network, LayerNetwork):
            ranges, numbers_of = example, number_type if network.layer.calls else "float32"
            network = drawn(network, example) if target.reads_onnx else network
        files = target.write(network, path, example, numbers_of, ranges)
        runner = target.open(path, threads=1)
        for file in files:
            file.unlink()
        return runner

    return deploy


def table_file(stage: Stage, config: SearchConfig) -> Path:
    """Return the file of measured layers: one for each machine, version of the runtime, and measuring method.

    Measurements of another machine or runtime are in another file. If a machine has become slower or faster since, the
    fit corrects for it with sub-generators that each search times again, and the reported error shows it.
    """
    runtime = config.latency_runtime
    version = f"torch {torch.__version__}" if runtime == EAGER else TARGETS[runtime].version()
    machine = (platform.node(), processor_name(), str(os.cpu_count()))
    facts = (TABLE_FORMAT, *machine, version, config.latency_number_type, str(config.latency_repeats))
    digest = hashlib.sha256("/".join(facts).encode()).hexdigest()
    return stage.checkpoints.parent / "latency" / f"{runtime}-{config.latency_number_type}-{digest[:16]}.jsonl"


def prediction_facts(predictor: LatencyPredictor, config: SearchConfig) -> Mapping[str, Any]:
    """Return the facts of `best.json` about the predictor: its errors, and the samples on which they were measured."""
    error, runtime, numbers = predictor.error, config.latency_runtime, config.latency_number_type
    rank = {} if error.rank_correlation is None else {"latency_rank_correlation": error.rank_correlation}
    return {
        "latency_error_median": error.median,
        "latency_error_p90": error.p90,
        **rank,
        "latency_runtime": runtime if numbers == "float32" else f"{runtime} {numbers}",
        "latency_layers": predictor.layers,
        "latency_samples": [
            {"spec": str(one.spec), "measured_ms": one.measured_ms, "predicted_ms": one.predicted_ms}
            for one in error.samples
        ],
    }
