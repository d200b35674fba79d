"""Compares images per second of one GAN training step with the same step in a bare loop on pre-loaded tensors.

`python -m benchmarks.training_throughput [--depth 16] [--size 32] [--rounds 5] [--steps 500]`

The two take turns in one process, so that other load slows both equally; quote the median of the ratios. The bare loop
is a fast script: tensors in memory, no checkpoint, no average, no curve, no finite check. Distillation and supernets of
conditional generators: `benchmarks.distillation_throughput`.
"""

import argparse
import copy
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn, optim

from ganpress.basics.pixel_values import uint8_to_images
from ganpress.config.training_section import GanTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.training.gan import train_gan
from ganpress.training.loop import Checkpointing, TrainingRun
from ganpress.training.losses import gan_discriminator_loss, gan_generator_loss
from models.family import LATENT
from models.wdcgan import wdcgan_discriminator, wdcgan_generator

BATCH = 64


def bare_loop(generator: nn.Module, discriminator: nn.Module, images: torch.Tensor, steps: int) -> None:
    """The same mathematics and nothing else."""
    generator.train().to(memory_format=torch.channels_last)
    discriminator.train().to(memory_format=torch.channels_last)
    generator_optimizer = optim.Adam(generator.parameters(), 4e-4, (0.5, 0.999))
    discriminator_optimizer = optim.Adam(discriminator.parameters(), 4e-4, (0.5, 0.999))
    for step in range(steps):
        start = step * BATCH % (len(images) - BATCH)
        real = images[start : start + BATCH].contiguous(memory_format=torch.channels_last)
        fake = generator(torch.randn(BATCH, LATENT))
        discriminator.requires_grad_(True)
        loss = gan_discriminator_loss(discriminator(real), discriminator(fake.detach()))
        discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        discriminator_optimizer.step()
        discriminator.requires_grad_(False)
        loss = gan_generator_loss(discriminator(fake))
        generator_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        generator_optimizer.step()


def images_per_second(work: Callable[[], object], images: int) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


def main() -> None:
    """Print one line a round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("depth", 16), ("size", 32), ("rounds", 5), ("steps", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    shown = options.steps * BATCH
    config = GanTraining(
        objective="gan",
        train_images=shown,
        batch_size=BATCH,
        generator_learning_rate=4e-4,
        discriminator_learning_rate=4e-4,
        beta1=0.5,
        discriminator_steps=1,
        ema_half_life_images=2000,
    )
    generator = wdcgan_generator(str(options.depth), options.size, 1)
    discriminator = wdcgan_discriminator(options.depth, options.size, 1, normalise=True)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        array = _images_on_disk(Path(folder), options.size)
        loaded = uint8_to_images(torch.from_numpy(array.pixels[:4096].copy()))

        def ours() -> object:
            checkpoint = Path(folder) / "checkpoint.pt"
            checkpoint.unlink(missing_ok=True)
            pair = copy.deepcopy(generator), copy.deepcopy(discriminator)
            return train_gan(*pair, array, config, TrainingRun(1, "gan", Checkpointing(checkpoint, "benchmark")))

        def bare() -> object:
            return bare_loop(copy.deepcopy(generator), copy.deepcopy(discriminator), loaded, options.steps)

        bare()  # warm-up
        for turn in range(options.rounds):
            speeds = images_per_second(ours, shown), images_per_second(bare, shown)
            ratios.append(speeds[0] / speeds[1])
            print(f"round {turn + 1}: ganpress {speeds[0]:,.0f} img/s, bare {speeds[1]:,.0f} img/s, {ratios[-1]:.3f}")
    threads = torch.get_num_threads()
    print(f"d = {options.depth}, {options.size} px, {threads} threads: median ratio {statistics.median(ratios):.3f}")


def _images_on_disk(folder: Path, size: int) -> ImageArray:
    """A memory-mapped split of the size of MNIST's."""
    path = folder / "train.npy"
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (50_000, 1, size, size))
    pixels[:] = np.random.default_rng(0).integers(0, 256, (1, 1, size, size), dtype=np.uint8)
    return ImageArray(np.load(path, mmap_mode="r"), np.zeros(len(pixels), np.int64))


if __name__ == "__main__":
    main()
