"""The whole project in one script: data, judge, teacher, student, integers, edge file, proof. Offline, some minutes.

    python examples/speedrun.py [--scale 0.1] [--out FOLDER]

The pipeline does the same in stages that are cached, resumed and tracked; here are only the calls.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import ganpress
from ganpress import Generator
from ganpress.config.judge_section import JudgeConfig
from ganpress.config.training_section import GanTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.metrics.judges.feature_networks import ClassifierJudge
from ganpress.metrics.scoring import Generate, quick_score, real_side
from ganpress.registries import TARGETS
from ganpress.training.gan import train_gan
from ganpress.training.judge_examples import LabelledImages
from ganpress.training.judge_training import train_judge
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint
from models.family import Canvas

SIZE, TEACHER, STUDENT, SEED = 32, 16, 4, 1


def digits() -> tuple[ImageArray, ImageArray]:
    """Scans of digits, enlarged to 32x32: for training, and held out."""
    scans = load_digits()
    pixels = np.clip(scans.images * 16, 0, 255).astype(np.uint8)[:, None].repeat(SIZE // 8, 2).repeat(SIZE // 8, 3)
    labels = scans.target.astype(np.int64)
    held_out = np.arange(len(pixels)) % 5 == 0
    return ImageArray(pixels[~held_out], labels[~held_out]), ImageArray(pixels[held_out], labels[held_out])


def judge_of(train: ImageArray, held_out: ImageArray, scale: float) -> ClassifierJudge:
    """A small classifier, whose features are what distances between sets of images are measured in."""
    config = JudgeConfig(kind="classifier", width=16, features=64, train_images=max(3200, int(20_000 * scale)),
                         batch_size=64, learning_rate=0.002, min_accuracy=0.5)  # fmt: skip
    examples = [LabelledImages(part, 10) for part in (train, held_out, held_out)]
    trained = train_judge(examples[0], examples[1], examples[2], config, TrainingRun(SEED, "judge"))
    print(f"judge: {trained.accuracy_test:.3f} of held-out digits named rightly")
    return ClassifierJudge(trained.judge, digest="")


def teacher_of(train: ImageArray, scale: float) -> Generator:
    """A W-DCGAN, trained against a discriminator of its own size."""
    untrained = Generator.fresh(f"wdcgan:{TEACHER}", Canvas(channels=1, height=SIZE, width=SIZE), SEED)
    shape = {"depth": TEACHER, "normalise": True, "size": SIZE, "channels": 1}
    config = GanTraining(objective="gan", train_images=max(640, int(60_000 * scale)), batch_size=64,
                         generator_learning_rate=4e-4, discriminator_learning_rate=4e-4, beta1=0.5,
                         discriminator_steps=1, ema_half_life_images=2000)  # fmt: skip
    discriminator = Blueprint("wdcgan_discriminator", shape).build()
    trained = train_gan(untrained.network, discriminator, train, config, TrainingRun(SEED, "teacher"))
    return Generator(trained.generator, untrained.blueprint, untrained.example, "teacher")


def main() -> None:
    """Go from data to the edge file, and print one row for each generator on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the trainings' full length")
    parser.add_argument("--out", type=Path, default=Path("speedrun"))
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    train, held_out = digits()
    judge = judge_of(train, held_out, given.scale)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "real.npy", held_out.pixels)
        real = real_side("fid", Path(folder) / "real.npy", judge)

    def scores(generate: Generate) -> str:
        """Distance to real digits (lower is better), and Inception Score (higher is better, at most 10)."""
        inputs = LatentInputs()
        fid = quick_score(generate, judge, "fid", 1000, SEED, inputs, real)
        return f"FID {fid:7.2f}  IS {quick_score(generate, judge, 'is', 1000, SEED, inputs):5.2f}"

    teacher = teacher_of(train, given.scale)
    student = ganpress.distil(teacher, f"wdcgan:{STUDENT}", images=max(640, int(60_000 * given.scale)), seed=SEED)
    small = ganpress.quantize(student, "w8a8")
    made = ganpress.export(small, given.out, target="onnx")
    file = TARGETS.find("onnx").open(made.file, 1)

    size = 4 * teacher.parameters
    rows = [
        ("teacher, torch", size, None, scores(teacher.network)),
        ("student, torch", 4 * student.parameters, made.milliseconds_before, scores(student.network)),
        ("student, int8 file", made.size_bytes, made.milliseconds, scores(file)),
    ]
    print(f"\n{'':<20}{'bytes':>11}{'ms':>9}")
    for name, size_bytes, milliseconds, words in rows:
        print(f"{name:<20}{size_bytes:>11,}{'' if milliseconds is None else f'{milliseconds:.3f}':>9}  {words}")
    worst = min(value for value in made.decibels.values() if value is not None)
    print(f"{made.file}: {size / made.size_bytes:.0f} times smaller, at least {worst:.1f} dB to the student's pictures")


if __name__ == "__main__":
    main()
