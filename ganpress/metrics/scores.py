"""All that images alone say about one generator, under names that carry the protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ganpress.metrics.distributions.first_order import DistanceTerms
from ganpress.metrics.distributions.inception_score import InceptionScore
from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.intervals.lsh_intervals import LshIntervals, compare_lsh, lsh_intervals
from ganpress.metrics.intervals.random_parts import PartScores
from ganpress.metrics.judges.segmentation import SegmentationScores
from ganpress.metrics.metric import Metric
from ganpress.metrics.neighbours.hashed import LshScores
from ganpress.metrics.neighbours.hashed_nearest import LshNeighbourScores
from ganpress.metrics.neighbours.precision_recall import NeighbourScores
from ganpress.metrics.samples.truth import PairScores, TeacherDistance
from ganpress.registries import METRICS


@dataclass(frozen=True)
class Scores:
    """Scores of one generator; None for what its data or its judge does not allow."""

    images: int
    """Generated images."""
    split: str
    """Real images that sets are compared with: `test`, or `all` of an unpaired data set."""
    judge: str
    fid: float
    kid: float
    neighbours: NeighbourScores | None
    """Scores by exact neighbours; None for too many images."""
    lsh: LshScores
    lsh_neighbours: LshNeighbourScores
    vol: Float64
    """Variance of the Laplacian of each image (N,)."""
    fid_terms: DistanceTerms | None = None
    """First-order terms of FID; None for fewer samples than features, when its error is not known."""
    kid_terms: DistanceTerms | None = None
    lsh_parts: PartScores | None = None
    """Scores of random parts of both sets; None of too few images."""
    lsh_neighbour_parts: PartScores | None = None
    inception: InceptionScore | None = None
    """Inception Score; None if the judge has no classes."""
    segmentation: SegmentationScores | None = None
    """Segmentation scores; None without label maps, or if the judge is not a segmenter."""
    pairs: PairScores | None = None
    """Similarity to the real targets; None unless inputs have a target of their own."""
    to_teacher: TeacherDistance | None = None
    """Distance to the teacher's images of the same inputs; None for the teacher."""

    others: Mapping[str, float] = field(default_factory=dict)
    """Numbers of metrics that are measured on features alone."""

    def metrics(self, teacher: "Scores") -> dict[str, float]:
        """Return all numbers by name, with those that only mean something beside the teacher's."""
        numbers: dict[str, float | None] = {}
        for metric in METRICS.values():
            value = metric.value(self, teacher)
            if value is None:
                continue
            name = self.full_name(metric)
            numbers[name] = value
            numbers |= {self.full_name(metric, aspect): read(self) for aspect, read in metric.aspects.items()}
            numbers |= {f"{name}_{spread}": read(self) for spread, read in metric.spreads.items()}
        numbers |= {f"{name}_retained": share for name, share in self._shares(teacher).items()}
        return {name: value for name, value in numbers.items() if value is not None}

    def full_name(self, metric: Metric, aspect: str = "") -> str:
        """A metric's name with the protocol of these scores: `fid_1000_test_judge`."""
        return metric.full_name(self.images, self.split, self.judge, aspect)

    def _shares(self, teacher: "Scores") -> dict[str, float | None]:
        """Return the shares of the teacher's numbers that are kept, by metric."""
        found: dict[str, float | None] = {}
        for name, metric in METRICS.items():
            if metric.has_share:
                own, whole = metric.value(self, teacher), metric.value(teacher, teacher)
                found[name] = None if own is None or whole is None else metric.share(own, whole)
        return found

    @cached_property
    def lsh_intervals(self) -> LshIntervals | None:
        """Intervals of precision and recall by hashing."""
        return None if self.lsh_parts is None else lsh_intervals(self.lsh, self.lsh_parts)

    @cached_property
    def lsh_neighbour_intervals(self) -> LshIntervals | None:
        """Intervals of precision and recall by hashing and neighbours."""
        parts = self.lsh_neighbour_parts
        return None if parts is None else lsh_intervals(self.lsh_neighbours, parts)


@dataclass(frozen=True)
class Comparison:
    """Scores of two generators on the same inputs."""

    own: Scores
    other: Scores

    @cached_property
    def lsh(self) -> LshIntervals | None:
        """Differences of precision and recall by hashing."""
        own, other = self.own, self.other
        if own.lsh_parts is None or other.lsh_parts is None:
            return None
        return compare_lsh(own.lsh, own.lsh_parts, other.lsh, other.lsh_parts)

    @cached_property
    def lsh_neighbours(self) -> LshIntervals | None:
        """Differences of precision and recall by hashing and neighbours."""
        mine, theirs = self.own.lsh_neighbour_parts, self.other.lsh_neighbour_parts
        if mine is None or theirs is None:
            return None
        return compare_lsh(self.own.lsh_neighbours, mine, self.other.lsh_neighbours, theirs)
