"""Compares losses of students: discriminators (the teacher's, the teacher's with a lower learning rate, a fresh one, or
none), and for students that read latents also distances to the teacher's images.

    python -m benchmarks.opponents [--project DIR] [--seeds 3] [--item NAME] [--images N] [--ways NAME …]

It uses data, judge, teacher and the sections `student` and `evaluate` of a finished chain. In each seed all students
have the same initial weights and see the same batches. Prints FID, IS if the judge has classes, PSNR if sources have
targets, and mean IoU for label maps, on the test split; mean and spread over the seeds.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.seed_rows import show_row
from ganpress.basics.seeding import seeded_initialisation
from ganpress.config.base import read_yaml
from ganpress.config.edge_section import EvaluateConfig
from ganpress.config.training_section import DistillationTraining, JointTraining, StudentConfig
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.arrays import open_split, read_meta
from ganpress.data.prepared.generator_inputs import SourceInputs, canvas_of, open_inputs
from ganpress.data.prepared.pairs import open_pairs
from ganpress.evaluation.measurement import PURPOSE, open_truth, real_arrays, reference_features, score_generator
from ganpress.files.checkpoint import load_model
from ganpress.metrics.judges.feature_networks import load_judge
from ganpress.training.distances.mixed_distance import MixedDistance
from ganpress.training.distillation import JointTerm, train_student
from ganpress.training.distillation_step import DistillationSetup
from ganpress.training.feature_distillation import distil_translation
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint, generator_blueprint, width_numbers
from tasks.shared.adversarial import gan_discriminator
from tasks.shared.conditional_stages import distilled_taps

SEED = 0
"""Of the inputs that results are measured on."""
Train = Callable[[nn.Module, int], nn.Module]
DISTANCES: dict[str, dict[str, float]] = {
    "mse": {"squared": 1.0},
    "absolute": {"absolute": 1.0},
    "mse + wavelet": {"squared": 1.0, "wavelet": 1.0},
    "absolute + wavelet": {"absolute": 1.0, "wavelet": 1.0},
    "mse + activations": {"squared": 1.0, "activations": 0.1},
    "activations": {"activations": 1.0},
    "mse + dime": {"squared": 1.0, "dime": 0.1},
    "dime": {"dime": 1.0},
}


@dataclass(frozen=True)
class Bench:
    """A project whose chain has run, and the student that is trained again and again."""

    artifacts: Path
    student: StudentConfig
    evaluate: EvaluateConfig
    blueprint: Blueprint
    images: int | None

    def ways(self) -> dict[str, Train]:
        """Every way to train, by name."""
        training = self.student.training
        if isinstance(training, FeatureDistillation):
            ways: dict[str, dict[str, object]] = {way: {} for way in ("inherited", "slowed", "fresh")}
            ways["none"] = {"lambda_feature_matching": 0.0}
            return {
                way: self._conditional(self._length(training, discriminator=way, **more)) for way, more in ways.items()
            }
        joint = {name: self._latent(self._length(training), None, {}, mixed) for name, mixed in DISTANCES.items()}
        for opponent in ("inherited", "slowed", "fresh"):
            for options in ({"alpha": 1e-4}, {"alpha": 1e-2}, {"gradient_ratio": 0.3}, {"gradient_ratio": 1.0}):
                ((name, value),) = options.items()
                joint[f"{opponent} {name} {value:g}"] = self._latent(self._length(training), opponent, options)
        return joint

    def _length(self, training: Any, **changes: object) -> Any:
        values = training.model_dump() | changes | ({"train_images": self.images} if self.images else {})
        return type(training).model_validate(values)

    def _conditional(self, config: FeatureDistillation) -> Train:
        def train(student: nn.Module, seed: int) -> nn.Module:
            opponent, mirror = load_model(self.artifacts / "teacher" / "discriminator.safetensors")
            if config.discriminator == "fresh":
                opponent = fresh(mirror, seed)
            teacher, _ = load_model(self.artifacts / "teacher" / "generator.safetensors")
            taps = distilled_taps(config, self.blueprint.builder)
            data = open_pairs(self.artifacts / "prepare", "train")
            setup = DistillationSetup(teacher, opponent, data, config, taps)
            return distil_translation(student, setup, TrainingRun(seed, "bench")).student

        return train

    def _latent(
        self,
        config: DistillationTraining,
        opponent: str | None,
        options: dict[str, float],
        mixed: dict[str, float] | None = None,
    ) -> Train:
        def train(student: nn.Module, seed: int) -> nn.Module:
            teacher, _ = load_model(self.artifacts / "teacher" / "generator.safetensors")
            run = TrainingRun(seed, "bench")
            if opponent is None:
                critic, _ = load_model(self.artifacts / "teacher" / "discriminator.safetensors")
                distance = MixedDistance(mixed or {"squared": 1.0}, critic)
                return train_student(student, teacher, config, run, distance=distance).student
            images = open_split(self.artifacts / "prepare", "train")
            adversarial = JointTraining.model_validate(
                self.student.adversarial.model_dump() | {"discriminator": opponent}
            )
            if opponent == "fresh":
                widest = max(width_numbers(self.blueprint))
                discriminator = fresh(gan_discriminator(adversarial, images.size, images.channels, widest), seed)
            else:
                discriminator, _ = load_model(self.artifacts / "teacher" / "discriminator.safetensors")
            joint = JointTerm(
                discriminator, images, adversarial, options.get("alpha", 1e-4), options.get("gradient_ratio")
            )
            return train_student(student, teacher, config, run, joint).student

        return train

    def measured(self, generators: Iterator[nn.Module]) -> Iterator[dict[str, float]]:
        """The numbers of each generator."""
        prepared = self.artifacts / "prepare"
        judge = load_judge(self.artifacts / "judge" / "judge.safetensors", torch.device("cpu"))
        inputs = open_inputs(prepared, "test")
        count = min(self.evaluate.images, len(inputs)) if isinstance(inputs, SourceInputs) else self.evaluate.images
        split, arrays = real_arrays(prepared)
        truth = open_truth(prepared, "test", inputs, SEED, PURPOSE, count)
        reference = reference_features(arrays, judge, self.evaluate.neighbours, split, truth=truth)
        for generator in generators:
            scores = score_generator(generator, judge, reference, self.evaluate, SEED, inputs)
            found = {"FID": scores.fid}
            if scores.inception is not None:
                found["IS"] = scores.inception.mean
            if scores.pairs is not None:
                found["PSNR"] = scores.pairs.psnr
            if scores.segmentation is not None:
                found["mIoU"] = scores.segmentation.mean_iou
            yield found


def fresh(blueprint: Blueprint, seed: int) -> nn.Module:
    """A network with first weights that depend on the seed alone."""
    with seeded_initialisation(seed, "bench", blueprint.builder):
        return blueprint.build()


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--item")
    parser.add_argument("--images", type=int)
    parser.add_argument("--ways", nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(1)
    artifacts, params = options.project / "artifacts", read_yaml(options.project / "params.yaml")
    student = StudentConfig.model_validate(params["student"])
    item = student.items[options.item or next(iter(student.items))]
    blueprint = generator_blueprint(item.generator_name, canvas_of(read_meta(artifacts / "prepare")))
    bench = Bench(artifacts, student, EvaluateConfig.model_validate(params["evaluate"]), blueprint, options.images)
    teacher, _ = load_model(artifacts / "teacher" / "generator.safetensors")
    print(f"{item.generator_name}, {options.seeds} seeds; mean [least, most]")
    show_row("teacher", list(bench.measured(iter([teacher.eval()]))), 0)
    for name, train in bench.ways().items():
        if options.ways and name not in options.ways:
            continue
        started = time.process_time()
        trained = (train(fresh(blueprint, seed), seed) for seed in range(options.seeds))
        found = list(bench.measured(trained))
        show_row(name, found, (time.process_time() - started) / options.seeds)


if __name__ == "__main__":
    main()
