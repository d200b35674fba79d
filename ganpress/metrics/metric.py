"""The definition of a metric in one value: names, ranking, report and intervals follow from it.

A metric's full name carries its protocol: `fid_1000_test_judge`, `is_1000_judge_std`, `fid_difference_1000_test_judge`.
Importing this module, or the definition of a built-in metric, imports no numerical library.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ganpress.errors import ConfigError

if TYPE_CHECKING:
    from ganpress.metrics.intervals.interval import Interval
    from ganpress.metrics.samples.sample import QuickSample, Sample
    from ganpress.metrics.scores import Comparison, Scores

Direction = Literal["higher", "lower", "equal", "none"]
"""Direction in which values are better: larger, smaller, nearer to 1, or none."""
Need = Literal["judge", "classes", "real", "truth", "label_maps", "teacher", "weights"]
"""Features or classes of a judge; real images; the true image or label map of each input; the teacher's images; weights
that the user gives.
"""
Shown = Literal["measured", "decides"]


@dataclass(frozen=True)
class Metric:
    """One number that says something of a generator."""

    name: str
    """Name in metrics.json without the protocol."""
    title: str
    meaning: str
    """Explanation of what it measures, for the report."""
    direction: Direction
    range: tuple[float, float] = (0.0, math.inf)
    unit: str = ""
    needs: tuple[Need, ...] = ()
    """Inputs of the measurement; `real` and `truth` add the split to its name, `judge` adds the judge."""
    is_cost: bool = False
    """Whether it is one of size or speed, which holds on any data."""
    measure: "Callable[[Sample], float] | None" = None
    """The number, from features of both sets; what it leaves unset, `read` says."""
    read: "Callable[[Scores, Scores], float | None] | None" = None
    """The number, from a generator's scores and the teacher's; None where it was not measured."""
    aspects: "Mapping[str, Callable[[Scores], float]]" = field(default_factory=dict)
    """Further numbers of the metric by their ending before the protocol, e.g. what real images score: `ceiling`."""
    spreads: "Mapping[str, Callable[[Scores], float | None]]" = field(default_factory=dict)
    """Spreads by their ending behind the protocol: `std`, `error`."""
    has_share: bool = False
    """Whether the share of the teacher's number that a generator keeps is a number of its own: `fid_retained`."""
    interval: "Callable[[Scores], Interval | None] | None" = None
    """Computes the confidence interval."""
    difference: "Callable[[Comparison], Interval | None] | None" = None
    """A generator's number less that of another on the same inputs, with its interval."""
    quick: "Callable[[QuickSample], float] | None" = None
    """Scores generators for a selection; if it is None, `measure` is used."""
    real_side: Literal["features", "statistics"] = "features"
    """The data of real images that `quick` needs."""
    start: tuple[float, str] | None = None
    """The worst number, and what scores it, where the way from there says how good a generator is."""
    beware: str = ""
    """Limit of the number, as a sentence of the report, in which {title}, {images} and {real} are filled in."""
    beware_where: Shown = "measured"
    """Whether the sentence is for every report that shows the metric, or where it decides."""

    def __post_init__(self) -> None:
        words = self.name.split("_")
        if words[-1] in ENDINGS or not (self.is_cost or all(word[:1].isalpha() for word in words)):
            raise ConfigError(
                f"'{self.name}' is no name for a metric: each word between '_' begins with a letter, and the last is "
                f"none of {', '.join(ENDINGS)}"
            )

    @property
    def is_quality(self) -> bool:
        """Whether it says something of images rather than of cost."""
        return bool(self.meaning) and not self.is_cost

    @property
    def can_choose(self) -> bool:
        """Whether generators can be chosen by it before they are evaluated."""
        return self.direction in ("higher", "lower") and (self.quick or self.measure) is not None

    def full_name(self, images: int, split: str, judge: str, aspect: str = "") -> str:
        """The metric with its protocol: `fid_1000_test_judge`, `is_1000_judge`, `vol_1000`."""
        with_split = "real" in self.needs or "truth" in self.needs
        named_by = judge if "judge" in self.needs else ""
        return "_".join(filter(None, (self.name, aspect, str(images), split if with_split else "", named_by)))

    def value(self, own: "Scores", teacher: "Scores") -> float | None:
        """The number of a generator; None where it was not measured."""
        return self.read(own, teacher) if self.read is not None else own.others.get(self.name)

    def share(self, own: float, teacher: float) -> float | None:
        """Return the share of the teacher's number that is kept: own / teacher if higher is better, else teacher / own.

        1 is as good as the teacher, above it better. None where the share would divide by zero.
        """
        part, whole = (own, teacher) if self.direction == "higher" else (teacher, own)
        return part / whole if whole != 0 else None


def badness(value: float, direction: Direction) -> float:
    """A number that is smaller for a better value."""
    if direction == "equal":
        return abs(math.log(value)) if value > 0 else math.inf
    return -value if direction == "higher" else value


ENDINGS = ("std", "error", "low", "high", "difference", "ceiling", "retained", "real")
"""Endings of the names of a metric's further numbers."""
