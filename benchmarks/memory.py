"""Measures the peak memory of the stages that read every image, at N and at 4 N images; it must not grow with N.

`python -m benchmarks.memory [--images 5000] [--factor 4] [--size 32]` (Linux: reads /proc)
`python -m benchmarks.memory --sets 62500 250000 1000000 --features 512`: metrics with these numbers of features on each
side

Each measurement is a separate process, on real digits repeated with noise. Growth is the peak memory added by one more
image; a stage that kept the images would grow by an image's bytes. Only far smaller data grows by design: labels and
places of the raw images (`prepare`, `judge`), and in `scores` the latent, features, probabilities, sharpness and
neighbours of each *generated* image, whose number `evaluate.images` the user chooses; no image is kept.

Pages of a memory-mapped array count as resident although they are the system's file cache, which it frees when
necessary. So growth is that of anonymous memory (RssAnon), and the peak RSS of getrusage is printed as well.

With `--sets`, a reference and a generated set of features are drawn from N(0, I) and collected like those of a judge.
Only a few numbers per sample grow (scores, hits, hash keys), not the features.

Features of a batch outlive its activations, and glibc's heap cannot return memory below them to the system. With
MALLOC_MMAP_THRESHOLD_=262144 in the environment large blocks are outside the heap, and growth is the memory really in
use.
"""

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ganpress.config.data_section import PrepareConfig
from ganpress.config.edge_section import EvaluateConfig
from ganpress.config.judge_section import JudgeConfig
from ganpress.data.prepared.arrays import open_split
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.data.prepared.image_preparation import prepare_images
from ganpress.data.raw.idx import write_idx
from ganpress.data.raw.raw_images import open_raw
from ganpress.evaluation.measurement import reference_features, score_generator
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.frechet_error import frechet_terms
from ganpress.metrics.distributions.kernel import kernel_distance
from ganpress.metrics.feature_inputs import Floats
from ganpress.metrics.judges.feature_networks import ClassifierJudge
from ganpress.metrics.neighbours.hashed import hash_reference, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import hashed_neighbourhood, score_hashed_neighbours
from ganpress.metrics.rows import Rows
from ganpress.metrics.scoring import array_statistics
from ganpress.training.judge_examples import labelled_examples
from ganpress.training.judge_training import train_judge
from ganpress.training.loop import TrainingRun
from models.judge_networks import classifier
from models.wdcgan import wdcgan_generator

CLASSES, FEATURES, WIDTH, TEST_IMAGES, POLL_SECONDS, MIB = 10, 64, 8, 1000, 0.002, 2**20
DRAWN = 250
"""Features drawn at a time, as a judge sees images."""
SCORED = EvaluateConfig(images=2, neighbours=5, kid_subsets=4, kid_subset_size=500, is_splits=10, latency_repeats=3)
JUDGE = JudgeConfig(
    kind="classifier",
    width=WIDTH,
    features=FEATURES,
    train_images=6400,
    batch_size=64,
    learning_rate=1e-3,
    min_accuracy=0,
)


@dataclass(frozen=True)
class Peak:
    """Largest memory of one process, in bytes."""

    resident: int
    """Peak RSS of the whole process, libraries and file pages included."""
    own: int
    """Anonymous memory at its peak, above what it was before the task."""


def prepare(folder: Path, _images: int, size: int) -> None:
    """Raw idx files to arrays on the disk, as the stage does."""
    config = PrepareConfig(image_size=size, channels=1, validation_fraction=0.1)
    prepare_images(open_raw(folder / "data"), config, 1, folder)


def judge(folder: Path, _images: int, _size: int) -> None:
    """Training of the judge, calibration and test included; its length is the same at N and at 4 N."""
    splits = (open_split(folder, split) for split in ("train", "validation", "test"))
    train_judge(*labelled_examples(JUDGE, *splits), JUDGE, TrainingRun(1, "judge"))


def statistics(folder: Path, _images: int, _size: int) -> None:
    """Statistics of a whole train split through the judge."""
    array_statistics(folder / "train.npy", _judge())


def scores(folder: Path, images: int, size: int) -> None:
    """All scores of one generator on so many generated images, against the same real ones."""
    network = _judge()
    reference = reference_features(folder / "test.npy", network, SCORED.neighbours)
    generator = wdcgan_generator("2", size, 1).eval()
    score_generator(generator, network, reference, SCORED.model_copy(update={"images": images}), 1, LatentInputs())


TASKS: dict[str, Callable[[Path, int, int], None]] = {
    "prepare": prepare,
    "judge": judge,
    "statistics": statistics,
    "scores": scores,
}


METRICS_OF_SETS: dict[str, Callable[[Floats, Floats], object]] = {
    "FID": frechet_distance_of_features,
    "FID error": frechet_terms,
    "KID": lambda real, fake: kernel_distance(real, fake, 10, 1000, 1),
    "LSH": lambda real, fake: score_hashed(hash_reference(real, 1), fake),
    "LSH + KNN": lambda real, fake: score_hashed_neighbours(hashed_neighbourhood(real, 1), fake),
}


def measure_sets(name: str, samples: int, features: int) -> Peak:
    """Draw two sets of features batch by batch, and measure one metric of them."""
    random = np.random.default_rng(0)

    def collected() -> Floats:
        rows = Rows()
        for start in range(0, samples, DRAWN):
            rows.append(random.standard_normal((min(DRAWN, samples - start), features), dtype=np.float32))
        return rows.all()

    return measure(lambda: METRICS_OF_SETS[name](collected(), collected()))


def compare_sets(sizes: list[int], features: int) -> None:
    """Print one line for each metric and number of samples."""
    print(f"{features} features in float32; a set of a sample has {4 * features:,} bytes")
    print(
        f"{'metric':>10} {'samples':>10} {'both sets, MiB':>15} {'own, MiB':>10} {'a sample, bytes':>16} {'CPU s':>8}"
    )
    for name in METRICS_OF_SETS:
        for samples in sizes:
            command = ["--set", name, "--images", str(samples), "--features", str(features)]
            before = children_cpu_seconds()
            peak = in_a_process(command)
            held = f"{8 * features * samples / MIB:,.0f}", f"{peak.own / MIB:,.1f}", f"{peak.own / samples:,.0f}"
            took = children_cpu_seconds() - before
            print(f"{name:>10} {samples:>10,} {held[0]:>15} {held[1]:>10} {held[2]:>16} {took:>8.1f}", flush=True)


def children_cpu_seconds() -> float:
    """CPU seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _judge() -> ClassifierJudge:
    torch.manual_seed(0)
    return ClassifierJudge(classifier(1, CLASSES, WIDTH, FEATURES), "untrained")


def anonymous_bytes() -> int:
    """Memory of this process that no file stands behind."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


def measure(task: Callable[[], None]) -> Peak:
    """Run `task` in this process, watched from a second thread."""
    before, ended, highest = anonymous_bytes(), threading.Event(), 0

    def watch() -> None:
        nonlocal highest
        while not ended.wait(POLL_SECONDS):
            highest = max(highest, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        task()
    finally:
        highest = max(highest, anonymous_bytes())
        ended.set()
        watcher.join()
    return Peak(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, highest - before)


def measured_elsewhere(task: str, folder: Path, images: int, size: int) -> Peak:
    """Run one task in a fresh process, whose peak is its alone."""
    return in_a_process(["--task", task, "--folder", str(folder), "--images", str(images), "--size", str(size)])


def in_a_process(arguments: list[str]) -> Peak:
    """Run this module with other arguments, whose last line is a peak."""
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def write_raw(folder: Path, images: int) -> None:
    """Write real digits (28, 28), repeated with noise, as idx files: `images` for train, a fixed number for test."""
    from sklearn.datasets import load_digits

    scans, random = load_digits(), np.random.default_rng(0)
    folder.mkdir(parents=True)
    for prefix, count in (("train", images), ("t10k", TEST_IMAGES)):
        chosen = np.arange(count) % len(scans.images)
        digits = np.pad((scans.images * 12).astype(np.uint8).repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
        noisy = digits[chosen] + random.integers(0, 32, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte", noisy)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", scans.target[chosen].astype(np.uint8))


def compare(few: int, many: int, size: int) -> None:
    """Print one line a task."""
    image = size * size
    print(
        f"an image of {size} px is {image:,} bytes as uint8, {4 * image:,} as float32; batches are of 1 to 500 images"
    )
    print(f"{'task':>10} {'images':>17} {'peak RSS, MiB':>17} {'own, MiB':>15} {'growth, bytes an image':>24}")
    with tempfile.TemporaryDirectory() as temporary:
        folders = {count: Path(temporary) / str(count) for count in (few, many)}
        for count, folder in folders.items():
            write_raw(folder / "data", count)
        for task in TASKS:
            low, high = (measured_elsewhere(task, folder, count, size) for count, folder in folders.items())
            growth = (high.own - low.own) / (many - few)
            counts, resident = f"{few:,} {many:,}", f"{low.resident / MIB:.0f} {high.resident / MIB:.0f}"
            own = f"{low.own / MIB:.1f} {high.own / MIB:.1f}"
            print(f"{task:>10} {counts:>17} {resident:>17} {own:>15} {growth:>14,.0f} ({growth / image:.0%} of uint8)")


def main() -> None:
    """Compare all tasks, or run the one that `--task` names and print its peak as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 5000), ("factor", 4), ("size", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sets", type=int, nargs="+", help="samples of each of two sets of features")
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--set", choices=list(METRICS_OF_SETS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    if options.sets is not None:
        compare_sets(options.sets, options.features)
        return
    if options.set is not None:
        print(json.dumps(asdict(measure_sets(options.set, options.images, options.features))))
        return
    if options.task is None:
        compare(options.images, options.images * options.factor, options.size)
        return
    peak = measure(lambda: TASKS[options.task](options.folder, options.images, options.size))
    print(json.dumps(asdict(peak)))


if __name__ == "__main__":
    main()
