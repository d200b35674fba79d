"""Scores generators for the stages that select one: by the judge, against the held-out part of train."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ganpress.data.prepared.generator_inputs import LatentInputs, SourceInputs, open_inputs
from ganpress.evaluation.measurement import open_truth
from ganpress.metrics.judges.feature_networks import Judge, load_judge
from ganpress.metrics.samples.sample import RealSide
from ganpress.metrics.samples.truth import Truth
from ganpress.metrics.scoring import QUICK_PURPOSE, Generate, quick_score, real_side
from ganpress.registries import METRICS
from tasks.shared.stage import Stage, require


@dataclass(frozen=True)
class QuickScoring:
    """The settings of a score, as paths and numbers, so that they can be sent to another process."""

    prepared: Path
    judge: Path
    metric: str
    images: int
    seed: int
    device: torch.device

    def open(self) -> "QuickScorer":
        """Load the judge, the inputs and the real features once for all generators."""
        judge = load_judge(self.judge, self.device)
        inputs = open_inputs(self.prepared, "validation")
        real = real_side(self.metric, self.prepared / "validation.npy", judge)
        truth = open_truth(self.prepared, "validation", inputs, self.seed, QUICK_PURPOSE, self.images)
        return QuickScorer(self, judge, inputs, real, truth)


@dataclass(frozen=True)
class QuickScorer:
    """Scores generators by one number, all on the same inputs."""

    of: QuickScoring
    judge: Judge
    inputs: LatentInputs | SourceInputs
    real: RealSide | None
    truth: Truth | None

    def __call__(self, generate: Generate) -> float:
        """Return the score.

        Raises:
            ConfigError: if this data or judge does not support the metric.
            DataError: if the generator produces NaN.
        """
        of = self.of
        return quick_score(generate, self.judge, of.metric, of.images, of.seed, self.inputs, self.real, self.truth)

    @property
    def name(self) -> str:
        """Name of the metric with its protocol: `fid_500_validation_judge`."""
        available = len(self.inputs) if isinstance(self.inputs, SourceInputs) else self.of.images
        return METRICS[self.of.metric].full_name(min(self.of.images, available), "validation", self.judge.name)


def quick_scoring(stage: Stage, metric: str, images: int) -> QuickScoring:
    """Return the scoring of this run by `metric`."""
    judge = require(stage.artifact("judge") / "judge.safetensors", "judge")
    prepared = require(stage.artifact("prepare") / "validation.npy", "prepare").parent
    return QuickScoring(prepared, judge, metric, images, stage.seed, stage.device)
