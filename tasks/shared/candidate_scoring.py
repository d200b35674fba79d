"""How stages that choose among generators score one: by the judge, against the held-out part of train."""

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
    """What a score is made of: paths and numbers, so that it can be sent to another process."""

    prepared: Path
    judge: Path
    metric: str
    images: int
    seed: int
    device: torch.device

    def open(self) -> "QuickScorer":
        """Load judge, inputs and the real side, once for all generators."""
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
            ConfigError: if the metric needs what this data or judge does not have.
            DataError: if the generator makes NaN.
        """
        of = self.of
        return quick_score(generate, self.judge, of.metric, of.images, of.seed, self.inputs, self.real, self.truth)

    @property
    def name(self) -> str:
        """The metric with its protocol: `fid_500_validation_judge`."""
        available = len(self.inputs) if isinstance(self.inputs, SourceInputs) else self.of.images
        return METRICS[self.of.metric].full_name(min(self.of.images, available), "validation", self.judge.name)


def quick_scoring(stage: Stage, metric: str, images: int) -> QuickScoring:
    """The scoring of this run by `metric`."""
    judge = require(stage.artifact("judge") / "judge.safetensors", "judge")
    prepared = require(stage.artifact("prepare") / "validation.npy", "prepare").parent
    return QuickScoring(prepared, judge, metric, images, stage.seed, stage.device)
