"""Compares post-training rounding to few bits with quantization-aware distillation, in one run.

    python -m benchmarks.trained_bits [--project DIR] [--images 100000] [--bits 4 3 2] [--seeds 3]

It uses the sub-generator and the judge of a finished chain (`ganpress run`). Every generator reads the same latents.
"""

import argparse
import copy
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ganpress.compression.algorithms.linear_quantization import QUANTIZE, LinearQuantization
from ganpress.compression.algorithms.quantization_aware import QAD, QuantizationAware
from ganpress.compression.compressor import CompressionData
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.files.checkpoint import load_model
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.inception_score import inception_score
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.judges.feature_networks import Judge, load_judge
from ganpress.metrics.neighbours.precision_recall import Neighbourhood, neighbour_scores, neighbourhood
from ganpress.metrics.scoring import array_features, generated_batches, input_batches, judge_batches
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint

MEASURED = 5000
NEIGHBOURS = 5


@dataclass(frozen=True)
class Bench:
    """The generator in floats, and what results are measured by."""

    artifacts: Path
    generator: nn.Module
    blueprint: Blueprint
    judge: Judge
    real: Neighbourhood

    @classmethod
    def of(cls, project: Path) -> "Bench":
        """Open a project whose chain has run."""
        artifacts = project / "artifacts"
        generator, blueprint = load_model(artifacts / "subnet" / "generator.safetensors")
        judge = load_judge(artifacts / "judge" / "judge.safetensors", torch.device("cpu"))
        real = array_features(artifacts / "prepare" / "test.npy", judge).features
        return cls(artifacts, generator.eval(), blueprint, judge, neighbourhood(real, NEIGHBOURS))

    def measure(self, made: nn.Module) -> dict[str, float]:
        """FID, IS where the judge knows classes, precision, recall and dB of one generator."""
        inputs = open_inputs(self.artifacts / "prepare", "test")
        seen = judge_batches(generated_batches(made, input_batches(inputs, 99, "bench", MEASURED)), self.judge)
        scores = neighbour_scores(self.real, seen.features)
        found = {"fid": frechet_distance_of_features(self.real.features, seen.features)}
        if seen.probabilities is not None:
            found["is"] = inception_score(seen.probabilities, 10, 0).mean
        found |= {"precision": scores.precision, "recall": scores.recall}
        if made is not self.generator:
            found["db"] = compare_outputs(self.generator, made, inputs.draw(7, "bench", 500)).snr_db or 0.0
        return found

    def data(self, seed: int) -> CompressionData:
        """What the algorithms are given."""
        inputs = open_inputs(self.artifacts / "prepare", "train")
        run = TrainingRun(seed, "bench")
        return CompressionData(inputs.draw(seed, "calibration", 256), seed, inputs, run, torch.device("cpu"))


def main() -> None:
    """Print a row for each width and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3, 2])
    parser.add_argument("--activation-bits", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench.of(options.project)
    parameters = sum(one.numel() for one in bench.generator.parameters())
    print(f"{parameters:,} parameters, {MEASURED:,} images, mean (spread) over {options.seeds} seeds")
    _show("float", [bench.measure(bench.generator)], 0.0)
    for bits in options.bits:
        for name in ("quantize", "qad"):
            started = time.process_time()
            found = [_one(bench, name, bits, options, seed) for seed in range(options.seeds)]
            _show(f"w{bits}a{options.activation_bits} {name}", found, time.process_time() - started)


def _one(bench: Bench, name: str, bits: int, options: argparse.Namespace, seed: int) -> dict[str, float]:
    model, blueprint = copy.deepcopy(bench.generator), bench.blueprint
    width = {"weight_bits": bits, "activation_bits": options.activation_bits, "clipping": "mse"}
    if name == "quantize":
        made, _ = QUANTIZE.compress(model, blueprint, LinearQuantization(**width), bench.data(seed))
    else:
        learning = QuantizationAware(**width, train_images=options.images)
        made, _ = QAD.compress(model, blueprint, learning, bench.data(seed))
    return bench.measure(made)


def _show(name: str, found: list[dict[str, float]], seconds: float) -> None:
    parts = []
    for key in found[0]:
        values = [one[key] for one in found]
        spread = f" ({max(values) - min(values):.3g})" if len(values) > 1 else ""
        parts.append(f"{key} {statistics.fmean(values):.4g}{spread}")
    print(f"{name:<16} {'  '.join(parts)}  {seconds / len(found):.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
