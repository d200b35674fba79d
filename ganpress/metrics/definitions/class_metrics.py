"""The metric of class probabilities alone."""

import math
from typing import TYPE_CHECKING

from ganpress.metrics.metric import Metric

if TYPE_CHECKING:
    from ganpress.metrics.samples.sample import QuickSample


def _quick(sample: "QuickSample") -> float:
    from ganpress.metrics.distributions.inception_score import inception_score
    from ganpress.metrics.judges.judge_output import class_probabilities

    return inception_score(class_probabilities(sample.seen(), sample.judge.name), sample.splits, sample.seed).mean


INCEPTION_SCORE = Metric(
    "is",
    "IS",
    "Inception Score: sure and varied classes, by the judge",
    "higher",
    (1.0, math.inf),
    needs=("judge", "classes"),
    read=lambda own, _: None if own.inception is None else own.inception.mean,
    spreads={"std": lambda own: None if own.inception is None else own.inception.split_std},
    has_share=True,
    quick=_quick,
    start=(1, "noise"),
    beware="The Inception Score starts at 1 for noise, so a share of {title} is kinder than it sounds; it sees neither "
    "memorised images nor variety within a class. Read it with FID, recall and coverage, and look at the pictures.",
    beware_where="decides",
)
