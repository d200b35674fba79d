"""What the stages before the evaluation left for the report: loss curves, the selection, the search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganpress.report.notation import MetricName


@dataclass(frozen=True)
class Curve:
    """Losses of one training over the images shown; without losses it was imported, not trained."""

    reference: str
    images: Sequence[float]
    losses: Mapping[str, Sequence[float]]

    @property
    def stage(self) -> str:
        """The stage that trained it."""
        return self.reference.partition("/")[0]

    @property
    def item(self) -> str:
        """Name inside its stage."""
        return self.reference.partition("/")[2] or self.reference


@dataclass(frozen=True)
class Candidate:
    """One member of the teacher family, as it was scored for the selection."""

    item: str
    network: str
    """`family:spec`, or `imported`."""
    parameters: int
    score: float
    selected: bool


@dataclass(frozen=True)
class Selection:
    """Which candidate became the teacher, and by which metric."""

    metric: MetricName
    candidates: Sequence[Candidate]

    @property
    def chosen(self) -> Candidate:
        """The candidate that became the teacher."""
        return next(one for one in self.candidates if one.selected)


@dataclass(frozen=True)
class ScoredSubnet:
    """One scored sub-generator of the supernet, with its costs for one image."""

    spec: str
    costs: Mapping[str, float]
    """By metric name: `parameters`, `macs_exact`, `size_bytes`, and `latency_ms_p50` where it was measured."""
    score: float


@dataclass(frozen=True)
class PredictedLatency:
    """A sub-generator that was timed whole, and what a fit that had not seen it predicted from its layers."""

    spec: str
    measured_ms: float
    predicted_ms: float


@dataclass(frozen=True)
class LatencyPrediction:
    """How far the search's latencies are off, where they were predicted."""

    runtime: str
    layers: int
    """Distinct layers that were timed."""
    median_error: float
    """Of |predicted - measured| / measured."""
    p90_error: float
    rank_correlation: float | None
    samples: Sequence[PredictedLatency]


@dataclass(frozen=True)
class SearchOutcome:
    """All scored sub-generators, those that no other beats on every objective, and the chosen one."""

    metric: MetricName
    scored: Sequence[ScoredSubnet]
    front: Sequence[ScoredSubnet]
    best: ScoredSubnet
    per_second: float | None = None
    """Sub-generators scored in a second."""
    workers: int | None = None
    """Processes that scored them."""
    prediction: LatencyPrediction | None = None
    """None where latencies were measured, or none were needed."""

    @property
    def measures_latency(self) -> bool:
        """Whether sub-generators were timed."""
        return "latency_ms_p50" in self.best.costs
