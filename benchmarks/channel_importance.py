"""Compares keeping the first channels with keeping the most important ones, on trained generators.

    python -m benchmarks.channel_importance --latents artifacts/teacher/generator.safetensors \
        --keys gan_compression=horse2zebra.pth --module tests/foreign/srgan.py:build=srgan_x4.pth --pictures FOLDER

Each generator is reduced to a share of its channels in both ways, and distilled briefly from its own pictures with the
same seed. Prints the SNR to the whole generator's pictures in decibels, before and after that training.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from ganpress import Generator, distil, evaluate
from ganpress.files.checkpoint import load_model
from ganpress.imported.importing import ImportRequest, bring_in
from ganpress.imported.weight_keys import import_generator
from models.family import latent_of

SIDE = 64
"""Of pictures that are read, so that a training takes minutes."""
SMALL_SIDE = 24
"""Of those that a generator enlarges."""


def generators(given: argparse.Namespace) -> Iterator[tuple[str, ImportRequest, nn.Module | None]]:
    """Name, request and network of each generator that the options name."""
    for path in given.latents:
        network = load_model(path)[0]
        yield path.parent.name, ImportRequest("latents:network", None, (1, latent_of(network))), network
    for named in given.keys:
        keys, _, path = named.partition("=")
        yield keys, ImportRequest(f"{keys}:network", None, (1, 3, SIDE, SIDE)), import_generator(Path(path), keys)[0]
    for named in given.module:
        factory, _, path = named.partition("=")
        yield factory, ImportRequest(factory, Path(path), (1, 3, SMALL_SIDE, SMALL_SIDE)), None


def main() -> None:
    """Print a row for each generator, share and order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=Path, nargs="*", default=[], help="model files of generators of latents")
    parser.add_argument("--keys", nargs="*", default=[], help="MAPPING=FILE of published weights")
    parser.add_argument("--module", nargs="*", default=[], help="FACTORY=FILE of weights")
    parser.add_argument("--pictures", type=Path, help="folder of pictures that the others read")
    parser.add_argument("--percent", type=int, nargs="*", default=[50])
    parser.add_argument("--latents-shown", type=int, default=20_000)
    parser.add_argument("--pictures-shown", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'generator':<34} {'%':>3} {'order':<10} {'seed':>4} {'cut, dB':>8} {'distilled, dB':>14}")
    for name, request, network in generators(given):
        brought = bring_in(request, network)
        first = Generator(brought.generator, brought.blueprint, brought.example, name)
        matter = Generator.of(network if network is not None else request.source, request=request)
        latent = brought.example.dim() == 2
        data = None if latent else given.pictures
        shown, batch = (given.latents_shown, 64) if latent else (given.pictures_shown, 4)
        for percent in given.percent:
            for order, teacher in (("first", first), ("importance", matter)):
                for seed in given.seeds:
                    cut = distil(teacher, percent, data=data, images=batch, batch_size=batch, learning_rate=1e-9)
                    student = distil(teacher, percent, data=data, images=shown, batch_size=batch, seed=seed)
                    values = [evaluate(one, first, data=data, seed=99)["snr_db"] for one in (cut, student)]
                    print(
                        f"{name:<34} {percent:>3} {order:<10} {seed:>4} {values[0]:>8.2f} {values[1]:>14.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
