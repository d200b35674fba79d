"""Measures the peak memory of one 256x256 step of a supernet's distillation, and of its widest network alone.

`python -m benchmarks.supernet_memory [--size 256] [--batch-size 1] [--ngf 32] [--device cpu] [--bf16]`

Published networks: the teacher is a plain ResNet of twice `ngf`, the supernet a mobile ResNet that runs its largest,
smallest and one random width. A step keeps the activations of one sub-generator at a time, so a supernet's peak is that
of its widest network. On the CPU the peak is the anonymous memory (RssAnon) added since before the first step; on a GPU
it is the memory that torch allocated. Each measurement runs in a separate process.
"""

import argparse
import json
import subprocess
import sys

import torch

from benchmarks.distillation_throughput import LABEL, SEED, setting_of
from benchmarks.memory import MIB, measure
from ganpress.training.distillation_step import DistillationSetup, DistillationStep
from ganpress.training.feature_distillation import student_of
from ganpress.training.loop import TrainingRun
from ganpress.training.supernet_training import specs_of_step

STEPS = 2
"""The second one has the optimizers' moments, too."""


def peak_bytes(elastic: bool, size: int, batch_size: int, ngf: int, device: str, bf16: bool) -> int:
    """Peak of `STEPS` steps in this process, networks included."""
    setting = setting_of(size, batch_size, ngf, STEPS, device, bf16)
    supernet = setting.supernet
    widest = student_of(supernet, "largest", supernet.space.largest)
    setup = DistillationSetup(setting.teacher, setting.discriminator, setting.data, setting.config, setting.taps)

    def steps() -> None:
        step = DistillationStep(
            supernet,
            lambda drawn: [student_of(supernet, *one) for one in specs_of_step(supernet, True, 1, drawn)][
                : None if elastic else 1
            ],
            widest,
            setup,
            TrainingRun(SEED, LABEL),
        )
        for index in range(STEPS):
            step(index * batch_size)

    if device == "cpu":
        return measure(steps).own
    torch.cuda.reset_peak_memory_stats()
    steps()
    return int(torch.cuda.max_memory_allocated())


def main() -> None:
    """Compare both, or measure the one that `--only` names and print its peak as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("size", 256), ("batch-size", 1), ("ngf", 32)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--only", choices=["widest", "supernet"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        arguments = options.size, options.batch_size, options.ngf, options.device, options.bf16
        print(json.dumps(peak_bytes(options.only == "supernet", *arguments)))
        return
    print(f"{options.size} px, batch {options.batch_size}, ngf {options.ngf}, {options.device}, bf16 {options.bf16}")
    for subject in ("widest", "supernet"):
        command = [sys.executable, "-m", "benchmarks.supernet_memory", "--only", subject, *sys.argv[1:]]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        print(f"{subject:>10}: {int(done.stdout.splitlines()[-1]) / MIB:,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
