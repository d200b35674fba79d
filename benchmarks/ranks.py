"""Compares the CPU seconds of a step with two ranks with those of the same step in one process.

`python -m benchmarks.ranks [--size 256] [--batch-size 8] [--ngf 16] [--rounds 5] [--steps 5]`

It trains pix2pix with a U-Net and batch norm, one thread per process. One process and two ranks take turns, so that
other load slows both equally. The first ratio is the CPU time of both ranks divided by that of one process for the same
whole batch. Half a batch costs more than half, so the second ratio divides by twice the time of one process for half
the batch; it shows the cost of averaging gradients and statistics. Neither says anything about a GPU's interconnect.
"""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ganpress.basics.device import CPU
from ganpress.basics.ranks import joined, own_rows, rank
from ganpress.config.translation_section import TranslationTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.training.loop import Losses, TrainingRun
from ganpress.training.paired import PairedStep
from models.discriminators import patch_discriminator
from models.unet import unet_generator
from tasks.shared.rank_processes import run_ranks

CHANNELS, PAIRS = 3, 16


def ticks_of_training(size: int, batch_size: int, ngf: int, steps: int) -> list[float]:
    """CPU seconds of this process at the start of each step of a short training, as a rank or alone."""
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (2, PAIRS, CHANNELS, size, size), dtype=np.uint8)
    data = PairArray(SourceArray(pixels[0]), ImageArray(pixels[1], np.zeros(PAIRS, np.int64)), "paired")
    config = TranslationTraining(
        framework="pix2pix",
        objective="vanilla",
        train_images=batch_size * steps,
        batch_size=batch_size,
        learning_rate=2e-4,
        discriminator_learning_rate=2e-4,
        beta1=0.5,
        lambda_recon=100,
        ndf=ngf,
        ema_half_life_images=0,
    )
    run = TrainingRun(1, "benchmark")
    generator = unet_generator(f"ngf={ngf}", CHANNELS, CHANNELS).to(memory_format=torch.channels_last)
    player = PairedStep(generator, patch_discriminator(2 * CHANNELS, ngf), config)
    batches = data.random_batches(run.stream("training"), batch_size, own_rows(batch_size))
    ticks: list[float] = []

    def step(_: int) -> Losses:
        ticks.append(time.process_time())
        source, target = (images.contiguous(memory_format=torch.channels_last) for images in next(batches))
        return player(source, target)

    run.train(generator, step, player.state, config)
    return ticks


def seconds(ranks: int, arguments: list[str]) -> float:
    """Least CPU seconds of a step but the first, of all ranks together."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "benchmarks.ranks", "--write", folder, *arguments]
        code = run_ranks("benchmark", ranks, CPU, command)
        if code:
            raise SystemExit(code)
        ticks = [json.loads(path.read_text()) for path in Path(folder).iterdir()]
    return sum(min(np.diff(one)[1:]) for one in ticks)


def main() -> None:
    """Print one line a round, then the medians of both ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("size", 256), ("batch-size", 8), ("ngf", 16), ("rounds", 5), ("steps", 5)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    if options.write is not None:
        with joined(CPU):
            ticks = ticks_of_training(options.size, options.batch_size, options.ngf, options.steps)
            (options.write / f"{rank()}.json").write_text(json.dumps(ticks))
        return
    rounds = []
    for turn in range(options.rounds):
        half = [*sys.argv[1:], "--batch-size", str(options.batch_size // 2)]
        rounds.append((seconds(1, sys.argv[1:]), 2 * seconds(1, half), seconds(2, sys.argv[1:])))
        print(f"round {turn + 1}: one %.3f s, twice half a batch %.3f s, two ranks %.3f s" % rounds[-1], flush=True)
    print(f"{options.size} px, batch {options.batch_size}, ngf {options.ngf}: median ratios", end=" ")
    ratios = [[together / whole, together / halves] for whole, halves, together in rounds]
    print(", ".join(f"{statistics.median(one):.3f}" for one in zip(*ratios, strict=True)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
