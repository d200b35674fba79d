"""Compares a student of given pairs with a student of the teacher itself.

    python -m benchmarks.given_pairs [--project DIR] [--pairs 2000 20000] [--images N] [--seeds 3] [--student wdcgan:4]

It uses data, judge and teacher of a finished chain. The teacher generates each number of pairs once, and is not used
again; its pictures are stored with eight bits, as in picture files. In each seed all students start with the same
weights and see the same number of images. FID to the test split and IS, 5,000 images; mean and spread.
"""

import argparse
from pathlib import Path
from statistics import mean, stdev

import torch

from ganpress import Generator, Pairs, distil
from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.files.checkpoint import load_model
from ganpress.metrics.judges.feature_networks import load_judge
from ganpress.metrics.scoring import quick_score, real_side
from models.family import latent_of

SCORED = 5_000


def main() -> None:
    """Print a row for each kind of lessons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--pairs", type=int, nargs="*", default=[2_000, 20_000])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--student", default="wdcgan:4")
    given = parser.parse_args()
    torch.set_num_threads(1)
    artifacts = given.project / "artifacts"
    judge = load_judge(artifacts / "judge" / "judge.safetensors", torch.device("cpu"))
    real = real_side("fid", artifacts / "prepare" / "test.npy", judge)
    network, blueprint = load_model(artifacts / "teacher" / "generator.safetensors")
    latent = latent_of(network)
    teacher = Generator(network, blueprint, torch.zeros(1, latent), "teacher")
    inputs = LatentInputs(latent)
    print(f"{'lessons':<24} {'FID':>16} {'IS':>14}")
    for count in (None, *given.pairs):
        rows = []
        for seed in range(given.seeds):
            lessons: Generator | Pairs = teacher
            if count is not None:
                z = inputs.draw(seed, "pairs", count)
                drawn = torch.cat([images_to_uint8(teacher(part)) for part in z.split(250)])
                lessons = Pairs(z, uint8_to_images(drawn))
            student = distil(lessons, given.student, images=given.images, seed=seed)
            scores = [quick_score(student.network, judge, one, SCORED, 0, inputs, real) for one in ("fid", "is")]
            rows.append(scores)
        fid, score = zip(*rows, strict=True)
        name = "the teacher, anew" if count is None else f"{count:,} pairs"
        spread = [stdev(values) if len(values) > 1 else 0.0 for values in (fid, score)]
        print(f"{name:<24} {mean(fid):>8.2f} ± {spread[0]:<5.2f} {mean(score):>7.3f} ± {spread[1]:<5.3f}", flush=True)


if __name__ == "__main__":
    main()
