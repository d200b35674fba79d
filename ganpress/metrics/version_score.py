"""The score of a registered edge file, and the rule by which one replaces another. Plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

from ganpress.metrics.metric import badness
from ganpress.metrics.metric_names import known_name
from ganpress.metrics.ranking import half_width

SCORE, METRIC, WIDTH = "score", "score.metric", "score.half_width"
"""Tags of a registered version: how good it was when it was evaluated."""


@dataclass(frozen=True)
class Score:
    """Score of a version, as stored in its tags."""

    metric: str
    value: float
    half_width: float

    @classmethod
    def of_row(cls, row: Mapping[str, float], metric: str) -> "Score | None":
        """Read what was evaluated; None where the metric was not."""
        return cls(metric, row[metric], half_width(row, metric)) if metric in row else None

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> "Score | None":
        """Read a version's tags; None where it bears no score."""
        if METRIC not in tags or SCORE not in tags:
            return None
        return cls(tags[METRIC], float(tags[SCORE]), float(tags.get(WIDTH, "0")))

    def tags(self) -> dict[str, str]:
        """Return the score as tags."""
        return {METRIC: self.metric, SCORE: repr(self.value), WIDTH: repr(self.half_width)}

    def against(self, champion: "Score") -> str:
        """Both numbers, and how far apart they may be by chance, in words."""
        spread = max(self.half_width, champion.half_width)
        return f"{self.metric} {self.value:.4g} against the champion's {champion.value:.4g}, ± {spread:.3g}"

    def is_worse_than(self, champion: "Score") -> bool | None:
        """Whether it is worse beyond the larger of both intervals; None where the metrics or judges differ."""
        if self.metric != champion.metric:
            return None
        better = known_name(self.metric).direction
        spread = max(self.half_width, champion.half_width)
        return badness(self.value, better) > badness(champion.value, better) + spread


@dataclass(frozen=True)
class Champion:
    """The registered edge file in use."""

    version: str
    reference: str
    score: Score
