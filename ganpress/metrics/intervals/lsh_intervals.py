"""How sure precision and recall by hashing are, and whether two generators differ in them.

Scores of generated samples in fixed tables are independent, so precision has the bootstrap's interval. Recall also owes
to the draw of the generated set, whose samples fill the tables: resampling the reference alone would call every third
pair of equal generators different. That part comes from a jackknife over groups of generated samples (Quenouille 1956),
because a bootstrap would put duplicates into the buckets. The same holds for LSH + KNN, whose hits are 0 or 1.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.intervals.bootstrap import LEVEL, Interval, compare, jackknife_error, mean_interval, widened


class HashedScores(Protocol):
    """Scores by hashing, those of `neighbours.hashed` or of `neighbours.hashed_nearest`."""

    @property
    def generated_hits(self) -> Float64:
        """(M,) terms of which precision is the mean."""

    @property
    def reference_hits(self) -> Float64:
        """(N,) terms of which recall is the mean."""

    @property
    def recall_without(self) -> Float64:
        """(groups,) recall without each group of generated samples."""


@dataclass(frozen=True)
class LshIntervals:
    """Intervals of one generator's scores, or of the differences of two; given the reference's tables and the seed."""

    precision: Interval
    recall: Interval


def lsh_intervals(scores: HashedScores, seed: int, level: float = LEVEL) -> LshIntervals:
    """Return intervals of both scores; recall's covers the draw of both sets, precision's that of the generated one."""
    recall = mean_interval(scores.reference_hits, seed, level=level)
    return LshIntervals(
        precision=mean_interval(scores.generated_hits, seed, level=level),
        recall=widened(recall, jackknife_error(scores.recall_without)),
    )


def compare_lsh(
    first: HashedScores, second: HashedScores, seed: int, paired: bool, level: float = LEVEL
) -> LshIntervals:
    """Return the first generator's scores less the second's, both taken against the same hashed reference.

    Args:
        first: Scores of one generator.
        second: Scores of the other.
        seed: Seed of the resamples.
        paired: Whether sample i of both was drawn from one input.
        level: Share of repetitions in which an interval holds the truth.

    Raises:
        DataError: if the reference samples, or paired generated samples, differ in number.
    """
    precision = compare(first.generated_hits, second.generated_hits, seed, paired, level=level)
    recall = compare(first.reference_hits, second.reference_hits, seed, paired=True, level=level)
    if paired:
        error = jackknife_error(first.recall_without - second.recall_without)
    else:
        error = float(np.hypot(jackknife_error(first.recall_without), jackknife_error(second.recall_without)))
    return LshIntervals(precision, widened(recall, error))
