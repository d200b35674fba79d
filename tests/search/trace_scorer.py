"""A scorer that worker processes import: the tests themselves have no importable name there."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from ganpress.errors import CheckpointError, DataError


@dataclass(frozen=True)
class TraceScorer:
    """Scores by a product of seeded matrices and leaves a trace; misbehaves at one spec where it is told to."""

    trace: Path
    trouble: str = ""
    at: str = "3_3_2"
    pause_seconds: float = 0.0
    processes: int = 1
    """Waits with its first score until so many processes have begun one."""

    def __call__(self):
        if self.trouble == "unbuildable":
            raise CheckpointError("supernet.safetensors does not exist; run `dvc repro supernet`")
        return self.score

    def score(self, spec):
        with self.trace.open("a") as file:
            file.write(f"{os.getpid()} {torch.get_num_threads()} {spec.text}\n")
        while len({process for process, *_ in self.traced()}) < self.processes:
            time.sleep(0.02)
        if self.trouble != "data" or spec.text != self.at:
            time.sleep(self.pause_seconds)
        if spec.text == self.at:
            if self.trouble == "data":
                raise DataError("validation.npy is damaged; run `dvc repro --force prepare`")
            if self.trouble == "nan":
                return float("nan")
            if self.trouble == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        random = torch.Generator().manual_seed(sum(spec.numbers))
        weights = torch.randn(257, 311, generator=random)
        return float((weights @ weights.T).sum()) + spec.numbers[0]

    def traced(self):
        return [line.split() for line in self.trace.read_text().splitlines()] if self.trace.exists() else []


@dataclass(frozen=True)
class SumScorer:
    """A scorer that costs nothing."""

    def __call__(self):
        return lambda spec: float(sum(spec.numbers))
