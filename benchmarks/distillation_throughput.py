"""Compares images per second of conditional distillation and supernet steps with the same steps in bare PyTorch.

`python -m benchmarks.distillation_throughput [--size 64] [--batch-size 4] [--ngf 16] [--device cpu]
 [--bf16] [--channels-last]`

Teacher: plain ResNet of twice the student's `ngf`; student: mobile ResNet; supernet: mobile ResNet by the sandwich
rule: largest, smallest and one random width. ganpress and the bare loop (`benchmarks.bare_distillation`) take turns in
one process on the same batches and widths; quote the ratio of the shortest times of each step, which other load changes
less than the median round. On the CPU, seconds are processor time. ganpress is timed between its first and last curve
point, with weight average, curve and finite checks, and with a curve point after every step; the checkpoint, 40 in a
training of any length, is before that. `--bf16` and `--channels-last` change only ganpress, so the ratio shows their
gain.
"""

import argparse
import copy
import itertools
import logging
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.bare_distillation import bare_loop, batches_of
from benchmarks.distillation_settings import paired_distillation
from ganpress.basics.seeding import torch_generator
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.training.distillation_step import DistillationSetup
from ganpress.training.feature_distillation import distil_supernet, distil_translation
from ganpress.training.loop import Checkpointing, TrainingRun
from models.builders import elastic_blueprint
from models.discriminators import patch_discriminator
from models.elastic import Elastic
from models.families import FAMILIES
from models.family import Canvas
from models.resnet import ResnetGenerator, resnet_generator

CHANNELS, PAIRS, SEED, LABEL = 3, 64, 1, "benchmark"


@dataclass(frozen=True)
class Setting:
    """What both sides train."""

    data: PairArray
    student: ResnetGenerator
    supernet: Elastic
    teacher: ResnetGenerator
    discriminator: nn.Module
    config: FeatureDistillation
    steps: int
    taps: tuple[str, ...]
    memory_format: torch.memory_format | None
    """None takes the one that suits the student."""

    @property
    def device(self) -> torch.device:
        return next(self.student.parameters()).device

    @property
    def shown(self) -> int:
        """Images between the first and the last step."""
        return (self.steps - 1) * self.config.batch_size


def setting_of(
    size: int, batch_size: int, ngf: int, steps: int, device: str, bf16: bool, channels_last: bool = False
) -> Setting:
    """Build networks and random pairs; torch draws the weights."""
    random = np.random.default_rng(0)
    sources, targets = random.integers(0, 256, (2, PAIRS, CHANNELS, size, size), dtype=np.uint8)
    data = PairArray(SourceArray(sources), ImageArray(targets, np.zeros(PAIRS, np.int64)), "paired")
    widths = tuple(ngf * quarter // 4 for quarter in (2, 3, 4))
    supernet = elastic_blueprint("mobile_resnet_9blocks", Canvas(CHANNELS, size, size, CHANNELS), (widths,)).build()
    assert isinstance(supernet, Elastic)
    config = paired_distillation(steps * batch_size, batch_size, bf16=bf16)
    return Setting(
        data,
        resnet_generator(f"ngf={ngf}", CHANNELS, CHANNELS, separable=True).to(device),
        supernet.to(device),
        resnet_generator(f"ngf={2 * ngf}", CHANNELS, CHANNELS, separable=False).to(device),
        patch_discriminator(2 * CHANNELS, 2 * ngf, 3, "instance").to(device),
        config,
        steps,
        FAMILIES["resnet_9blocks"].taps,
        torch.channels_last if channels_last else None,
    )


def seconds_of_ganpress(setting: Setting, elastic: bool, checkpointing: Checkpointing) -> list[float]:
    """Seconds of each step but the first, on a supernet or on one student."""
    clock = _Clock(setting.device)
    teacher, discriminator = copy.deepcopy(setting.teacher), copy.deepcopy(setting.discriminator)
    networks = teacher, discriminator, setting.data, setting.config, setting.taps
    setup = DistillationSetup(*networks, memory_format=setting.memory_format)
    run = TrainingRun(SEED, LABEL, checkpointing, clock.tick)
    if elastic:
        distil_supernet(copy.deepcopy(setting.supernet), setup, run, True, 1)
    else:
        distil_translation(copy.deepcopy(setting.student), setup, run)
    return clock.seconds


class _Clock:
    """Seconds between ticks: on a GPU by the wall clock, else of the process on all cores.

    Processor time leaves out what others on the machine take, which wall time on a shared one does not.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self.ticks: list[float] = []

    def tick(self, *_: object) -> None:
        if self._on_gpu:
            torch.cuda.synchronize()
        self.ticks.append(time.perf_counter() if self._on_gpu else time.process_time())

    @property
    def seconds(self) -> list[float]:
        """Between each tick and the next."""
        return [later - earlier for earlier, later in itertools.pairwise(self.ticks)]


def seconds_of_bare_loop(setting: Setting, elastic: bool) -> list[float]:
    """Seconds of each step but the first of the bare loop, on the same batches and widths."""
    clock, config = _Clock(setting.device), setting.config
    student = copy.deepcopy(setting.supernet.widest if elastic else setting.student)
    assert isinstance(student, ResnetGenerator)
    space = setting.supernet.space if elastic else None
    random = torch_generator(SEED, LABEL, "training")
    batches = batches_of(setting.data, config.batch_size, setting.steps, random, space, setting.device)
    opponents = copy.deepcopy(setting.teacher), copy.deepcopy(setting.discriminator)
    bare_loop(student, *opponents, batches, config, clock.tick)
    return clock.seconds


def contest(name: str, rounds: int, setting: Setting, elastic: bool) -> None:
    """Print one line a round, then the ratio of speeds: median of the rounds, and of the steps' least times."""
    ratios: list[float] = []
    steps: list[tuple[list[float], list[float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):  # the first warms up
            checkpoint = Path(folder) / f"{turn}.pt"
            ours = seconds_of_ganpress(setting, elastic, Checkpointing(checkpoint, "benchmark", pause_seconds=math.inf))
            bare = seconds_of_bare_loop(setting, elastic)
            if turn:
                steps.append((ours, bare))
                ratios.append(sum(bare) / sum(ours))
                speeds = [setting.shown / sum(one) for one in (ours, bare)]
                print(f"{name}: ganpress {speeds[0]:.2f} img/s, bare {speeds[1]:.2f} img/s, {ratios[-1]:.3f}")
    least = [sum(map(min, zip(*rounds_of_one, strict=True))) for rounds_of_one in zip(*steps, strict=True)]
    print(
        f"{name}: median ratio {statistics.median(ratios):.3f}, of the least times {least[1] / least[0]:.3f}",
        flush=True,
    )


def main() -> None:
    """Time a student's and a supernet's steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("size", 64), ("batch-size", 4), ("ngf", 16), ("rounds", 5), ("steps", 8)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    how = options.device, options.bf16, options.channels_last
    setting = setting_of(options.size, options.batch_size, options.ngf, options.steps, *how)
    print(
        f"{options.size} px, batch {options.batch_size}, ngf {options.ngf}, {options.device}, "
        f"bf16 {options.bf16}, channels last {options.channels_last}"
    )
    contest("student", options.rounds, setting, elastic=False)
    contest("supernet", options.rounds, setting, elastic=True)


if __name__ == "__main__":
    main()
