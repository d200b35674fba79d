"""Measures how well a table of timed layers predicts the latency of sub-generators, and its cost, for every runtime.

    python -m benchmarks.latency_table [--runtimes onnx openvino] [--number-types float32 int8] [--spaces unet wdcgan]

As the stage `search` does with `latency: table`: some whole sub-generators are timed in turn in the runtime, each of
their distinct layers is timed alone, and each sub-generator is predicted by a fit that excludes it. Then new
sub-generators are predicted, which costs a trace and the timing of new layers, instead of a file and its timing.
`spread` is the latency of the slowest sample divided by that of the fastest.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from ganpress.basics.seeding import torch_generator
from ganpress.config.search_section import LatencyRuntime
from ganpress.performance.latency import measure_latency
from ganpress.search.latency_prediction import LatencyPredictor, PredictionError, sample_specs
from ganpress.search.latency_table import Deploy, LatencyTable
from ganpress.search.layer_runs import Layer, trace_layers
from models.builders import Blueprint, elastic_blueprint, subnet_blueprint
from models.elastic import Elastic, Spec
from models.families import find_family
from models.family import Canvas
from tasks.shared.subnet_latency import deployer, number_types, written_form

HEADINGS = ("space", "runtime", "samples", "median error", "90 % within", "rank correlation", "spread", "layers",
            "s a layer", "s a network whole", "s a prediction")  # fmt: skip


@dataclass(frozen=True)
class Space:
    """Sub-generators of one supernet."""

    family: str
    canvas: Canvas
    widths: tuple[int, ...]

    @property
    def blueprint(self) -> Blueprint:
        """Of the supernet."""
        return elastic_blueprint(self.family, self.canvas, (self.widths,))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return find_family(self.family)[1].input_shape(self.canvas)


SPACES = {
    "wdcgan": Space("wdcgan", Canvas(1, 32, 32), (8, 16, 32)),
    "unet": Space("unet_32", Canvas(3, 32, 32, 3), (8, 16, 32)),
    "mobile_resnet": Space("mobile_resnet_9blocks", Canvas(3, 64, 64, 3), (8, 16, 32)),
    "edge_resnet": Space("edge_resnet_9blocks", Canvas(3, 64, 64, 3), (8, 16, 32)),
}


@dataclass(frozen=True)
class Row:
    """What one table is worth."""

    error: PredictionError
    layers: int
    layer_seconds: float
    """Process CPU time for each layer of the table, written, loaded and timed."""
    whole_seconds: float
    """The same for each sub-generator."""
    prediction_seconds: float
    """The same for each new sub-generator, layers that it adds to the table included."""

    @property
    def cells(self) -> list[str]:
        """As in `HEADINGS`, but for the first two."""
        times = [one.measured_ms for one in self.error.samples]
        rank = "none" if self.error.rank_correlation is None else f"{self.error.rank_correlation:.3f}"
        words = [str(len(times)), f"{self.error.median:.1%}", f"{self.error.p90:.1%}", rank]
        words += [f"{max(times) / min(times):.2f}x", str(self.layers), f"{self.layer_seconds:.3f}"]
        return [*words, f"{self.whole_seconds:.2f}", f"{self.prediction_seconds:.3f}"]


def main() -> None:
    """Print a row for each space, runtime and number type."""
    options = _options()
    print("| " + " | ".join(HEADINGS) + " |\n" + "|---" * len(HEADINGS) + "|", flush=True)
    for name in options.spaces:
        for runtime in options.runtimes:
            for number_type in options.number_types:
                if number_type in number_types(runtime):
                    row = measure(SPACES[name], runtime, number_type, options)
                    print("| " + " | ".join([name, f"{runtime} {number_type}", *row.cells]) + " |", flush=True)
                    if options.each:
                        _print_samples(row.error)


def measure(space: Space, runtime: LatencyRuntime, number_type: str, options: argparse.Namespace) -> Row:
    """Time sub-generators whole, fill a table with their layers, and predict new ones."""
    blueprint, shape = space.blueprint, space.input_shape
    supernet = blueprint.build()
    assert isinstance(supernet, Elastic)
    specs = sample_specs(supernet.space, options.samples, seed=0)
    one, *_ = inputs = torch.rand((3, 1, *shape[1:]), generator=torch_generator(0, "benchmark", "input"))
    written = written_form(runtime, number_type)

    def trace(spec: Spec) -> tuple[Layer, ...]:
        network = subnet_blueprint(blueprint, spec)
        return trace_layers(lambda: written(network.build().eval(), torch.empty(shape)), shape)

    with tempfile.TemporaryDirectory(prefix="ganpress-latency-table-") as scratch:
        deploy = deployer(runtime, Path(scratch), number_type, inputs[1:, 0])
        began = time.process_time()
        measured = _measure_whole(blueprint, specs, deploy, one, options.rounds)
        whole = (time.process_time() - began) / len(specs)
        table = LatencyTable(deploy, options.rounds)
        began = time.process_time()
        table.fill(layer for spec in specs for layer in trace(spec))
        filled, layers = time.process_time() - began, len(table)
        predictor = LatencyPredictor(trace, table, measured)
        random = torch_generator(0, "benchmark", "new specs")
        began = time.process_time()
        for _ in range(options.predictions):
            predictor(supernet.space.sample(random))
        each = (time.process_time() - began) / options.predictions
    return Row(predictor.error, layers, filled / layers, whole, each)


def _measure_whole(
    blueprint: Blueprint, specs: Sequence[Spec], deploy: Deploy, one: Tensor, rounds: int
) -> dict[Spec, float]:
    runners = {str(spec): deploy(subnet_blueprint(blueprint, spec).build().eval(), one) for spec in specs}
    measured = measure_latency(runners, one, rounds)
    return {spec: measured[str(spec)].least_ms for spec in specs}


def _print_samples(error: PredictionError) -> None:
    for sample in error.samples:
        print(f"  {sample.spec!s:<28}{sample.measured_ms:>9.3f} ms measured{sample.predicted_ms:>9.3f} ms predicted")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runtimes, spaces = list(get_args(LatencyRuntime)), list(SPACES)
    parser.add_argument("--runtimes", nargs="+", default=["onnx", "openvino"], choices=runtimes)
    parser.add_argument("--number-types", nargs="+", default=["float32", "int8"])
    parser.add_argument("--spaces", nargs="+", default=["wdcgan", "mobile_resnet"], choices=spaces)
    parser.add_argument("--each", action="store_true", help="print each sample")
    for name, default in (("samples", 10), ("rounds", 20), ("predictions", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
