"""How well a table of timed layers predicts the latency of sub-generators, and what it saves the search.

    python -m benchmarks.latency_table [--family edge_resnet_9blocks] [--size 256] [--widths 16 24 32] [--runtime onnx]

As the stage `search` does with `latency: table`: some sub-generators are put into the runtime whole and timed in turns,
each distinct layer of theirs is timed alone, and each sub-generator is predicted by a fit that leaves it out. Then new
sub-generators are predicted, which costs a trace and the layers not met yet, instead of a file and a timing of its own.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from ganpress.latency import measure_latency
from ganpress.search.latency_prediction import LatencyPredictor, sample_specs
from ganpress.search.latency_table import LatencyTable
from ganpress.search.layers import Layer, trace_layers
from ganpress.seeding import torch_generator
from models.builders import elastic_blueprint, subnet_blueprint
from models.elastic import Elastic, Spec
from models.families import Canvas, find_family
from tasks.subnet_latency import deployer


def main() -> None:
    """Print each sample, the errors, and the seconds that either way takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="mobile_resnet_9blocks")
    parser.add_argument("--runtime", default="onnx", choices=["torch", "onnx", "openvino", "executorch"])
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 24, 32])
    for name, default in (("size", 256), ("samples", 16), ("rounds", 20), ("predictions", 50)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    _, family, _ = find_family(options.family)
    channels = 3 if family.conditional else 1
    canvas = Canvas(channels, options.size, options.size, channels if family.conditional else 0)
    blueprint = elastic_blueprint(options.family, canvas, (tuple(options.widths),))
    supernet, shape = blueprint.build(), family.input_shape(canvas)
    assert isinstance(supernet, Elastic)
    one = torch.rand(shape, generator=torch_generator(0, "benchmark", "input"))
    specs = sample_specs(supernet.space, options.samples, seed=0)
    with tempfile.TemporaryDirectory(prefix="ganpress-latency-table-") as scratch:
        deploy = deployer(options.runtime, Path(scratch))
        began = time.perf_counter()
        runners = {str(spec): deploy(subnet_blueprint(blueprint, spec).build().eval(), one) for spec in specs}
        measured = measure_latency(runners, one, options.rounds)
        whole = (time.perf_counter() - began) / len(specs)
        table = LatencyTable(deploy, options.rounds)

        def trace(spec: Spec) -> tuple[Layer, ...]:
            return trace_layers(subnet_blueprint(blueprint, spec).build, shape)

        began = time.perf_counter()
        predictor = LatencyPredictor(trace, table, {spec: measured[str(spec)].least_ms for spec in specs})
        filled, layers = time.perf_counter() - began, len(table)
        random = torch_generator(0, "benchmark", "new specs")
        began = time.perf_counter()
        for _ in range(options.predictions):
            predictor(supernet.space.sample(random))
        each = (time.perf_counter() - began) / options.predictions
    print(f"{options.family}, {options.size} px, widths {options.widths}, {options.runtime}, 1 thread")
    for sample in predictor.error.samples:
        print(f"  {sample.spec!s:<28}{sample.measured_ms:>9.3f} ms measured{sample.predicted_ms:>9.3f} ms predicted")
    error = predictor.error
    rank = "none" if error.rank_correlation is None else f"{error.rank_correlation:.3f}"
    print(f"error: median {error.median:.1%}, 90 % within {error.p90:.1%}, rank correlation {rank}")
    print(f"table of {layers} layers in {filled:.1f} s, {len(table) - layers} more for {options.predictions} new specs")
    print(f"a sub-generator takes {whole:.2f} s to write and time whole, {each:.3f} s to predict: {whole / each:.0f}x")


if __name__ == "__main__":
    main()
