"""Compares objectives of teachers on the same data, with the same number of images shown and several seeds.

    python -m benchmarks.objectives [--project DIR] [--depth 8] [--images 60000] [--seeds 3] [--gamma 0.1 1 10]
    python -m benchmarks.objectives --augment --few 300 1000 [--project DIR] …

The second form trains with `gan` on only the first `--few` pictures, with and without DiffAugment. Both use the
prepared pictures and the judge of a finished chain. Prints FID, IS if the judge has classes, and recall of 5,000
pictures of the averaged generator.
"""

import argparse
import time
from pathlib import Path

import torch

from benchmarks.seed_rows import show_row
from ganpress.config.training_section import GanTraining
from ganpress.data.prepared.arrays import ImageArray, open_split
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.inception_score import inception_score
from ganpress.metrics.judges.feature_networks import Judge, load_judge
from ganpress.metrics.neighbours.precision_recall import Neighbourhood, neighbour_scores, neighbourhood
from ganpress.metrics.scoring import array_features, generated_batches, input_batches, judge_batches
from ganpress.training.gan import train_gan
from ganpress.training.loop import TrainingRun
from models.wdcgan import initialize_weights, wdcgan_discriminator, wdcgan_generator

MEASURED = 5000
SHIPPED = {
    "batch_size": 64,
    "generator_learning_rate": 0.0004,
    "discriminator_learning_rate": 0.0004,
    "discriminator_steps": 1,
    "ema_half_life_images": 2000,
}


def main() -> None:
    """Print a row for each objective."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gamma", type=float, nargs="+", default=[0.1, 1.0, 10.0])
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--few", type=int, nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(1)
    artifacts = options.project / "artifacts"
    judge = load_judge(artifacts / "judge" / "judge.safetensors", torch.device("cpu"))
    real = neighbourhood(array_features(artifacts / "prepare" / "test.npy", judge).features, 5)
    ways: dict[str, dict[str, object]] = {
        "gan": {"objective": "gan", "beta1": 0.5},
        "wgan-gp": {"objective": "wgan", "beta1": 0.0, "gradient_penalty": 10.0},
    }
    ways |= {
        f"r3gan {gamma:g}": {"objective": "r3gan", "beta1": 0.0, "gradient_penalty": gamma} for gamma in options.gamma
    }
    if options.augment:
        gan = ways["gan"]
        ways = {f"gan {augment}": {**gan, "augment": augment} for augment in ("none", "diffaugment")}
    images = open_split(artifacts / "prepare", "train")
    for count in options.few or [len(images)]:
        few = ImageArray(images.pixels[:count], images.labels[:count], images.name)
        print(f"{count:,} pictures, d = {options.depth}, {options.images:,} shown, {options.seeds} seeds; mean [range]")
        for name, way in ways.items():
            config = GanTraining.model_validate({**SHIPPED, **way, "train_images": options.images})
            started = time.process_time()
            found = [_one(few, judge, real, config, options.depth, seed) for seed in range(options.seeds)]
            show_row(name, found, (time.process_time() - started) / options.seeds)


def _one(
    images: ImageArray, judge: Judge, real: Neighbourhood, config: GanTraining, depth: int, seed: int
) -> dict[str, float]:
    torch.manual_seed(seed)
    generator = wdcgan_generator(str(depth), images.size, images.channels)
    discriminator = wdcgan_discriminator(depth, images.size, images.channels, config.gradient_penalty is None)
    for network in (generator, discriminator):
        network.apply(initialize_weights)
    trained = train_gan(generator, discriminator, images, config, TrainingRun(seed, "bench")).generator
    seen = judge_batches(generated_batches(trained, input_batches(LatentInputs(), 99, "bench", MEASURED)), judge)
    found = {"fid": frechet_distance_of_features(real.features, seen.features)}
    if seen.probabilities is not None:
        found["is"] = inception_score(seen.probabilities, 10, 0).mean
    return found | {"recall": neighbour_scores(real, seen.features).recall}


if __name__ == "__main__":
    main()
