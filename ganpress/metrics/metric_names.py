"""Names in metrics.json taken apart: `fid_difference_1000_test_judge_low` is the lower end of FID's difference."""

import re
from dataclasses import dataclass

from ganpress.errors import ConfigError
from ganpress.metrics.metric import Direction, Metric
from ganpress.registries import METRICS

_NAME = re.compile(
    r"(?P<head>[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*?)"
    r"(?:_(?P<images>\d+)(?:_(?P<split>train|validation|test|all))?(?:_(?P<judge>(?!(?:std|error|low|high)$)[a-z]+))?)?"
    r"(?:_(?P<spread>std|error|low|high))?"
)
_HEAD = re.compile(r"(?P<base>.+?)(?:_(?P<aspect>difference|ceiling|retained))?(?:_(?P<spread>std|error))?")


@dataclass(frozen=True)
class ReadName:
    """A name in metrics.json, read."""

    metric: Metric
    aspect: str = ""
    """`difference` to the teacher, `ceiling`: what real images score, or `retained`: the share of the teacher's."""
    spread: str = ""
    """`std` or `error`; `low` or `high` of an end of an interval."""
    images: int | None = None
    split: str | None = None
    judge: str | None = None

    @property
    def direction(self) -> Direction:
        """Direction in which values are better: larger for a share of the teacher's, smaller for an error."""
        if self.spread in ("std", "error"):
            return "lower"
        return "higher" if self.aspect == "retained" else self.metric.direction


def read_name(raw: str) -> ReadName | None:
    """Take a metric's name apart; None where it is of no known metric."""
    match = _NAME.fullmatch(raw)
    head = _HEAD.fullmatch(match["head"]) if match else None
    if match is None or head is None or head["base"] not in METRICS:
        return None
    metric, spread = METRICS[head["base"]], head["spread"] or match["spread"] or ""
    images = int(match["images"]) if match["images"] else None
    return ReadName(metric, head["aspect"] or "", spread, images, match["split"], match["judge"])


def known_name(raw: str) -> ReadName:
    """Take a metric's name apart.

    Raises:
        ConfigError: if it is of no known metric.
    """
    name = read_name(raw)
    if name is None:
        raise ConfigError(
            f"'{raw}' is no metric of ganpress or of an installed package, so nothing says which value is better; "
            f"known: {METRICS.listing()}"
        )
    return name
