"""Results of the stages before the evaluation, as the report shows them: loss curves, selection and search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganpress.report.notation import MetricName


@dataclass(frozen=True)
class Curve:
    """Losses of one training by number of training images; empty for an imported network."""

    reference: str
    images: Sequence[float]
    losses: Mapping[str, Sequence[float]]

    @property
    def stage(self) -> str:
        """The stage that trained it."""
        return self.reference.partition("/")[0]

    @property
    def item(self) -> str:
        """Its name within the stage."""
        return self.reference.partition("/")[2] or self.reference


@dataclass(frozen=True)
class Candidate:
    """One candidate for the teacher, with its score in the selection."""

    item: str
    network: str
    """Its network: `family:spec`, or `imported`."""
    parameters: int
    score: float
    selected: bool


@dataclass(frozen=True)
class Selection:
    """The selection of the teacher: the candidates, the metric, and the selected one."""

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
    """Costs by metric name: `parameters`, `macs_exact`, `size_bytes`, and `latency_ms_p50` if it was measured."""
    score: float


@dataclass(frozen=True)
class PredictedLatency:
    """The measured latency of a whole sub-generator, and its prediction by a fit that did not include it."""

    spec: str
    measured_ms: float
    predicted_ms: float


@dataclass(frozen=True)
class LatencyPrediction:
    """Error of the search's latencies, if they were predicted."""

    runtime: str
    layers: int
    """Number of distinct layers that were timed."""
    median_error: float
    """Median of |predicted - measured| / measured."""
    p90_error: float
    rank_correlation: float | None
    samples: Sequence[PredictedLatency]


@dataclass(frozen=True)
class SearchOutcome:
    """All scored sub-generators, the Pareto front over all objectives, and the chosen one."""

    metric: MetricName
    scored: Sequence[ScoredSubnet]
    front: Sequence[ScoredSubnet]
    best: ScoredSubnet
    per_second: float | None = None
    """Number of sub-generators scored per second."""
    workers: int | None = None
    """Number of processes that scored them."""
    prediction: LatencyPrediction | None = None
    """Error of predicted latencies; None if latencies were measured or not needed."""

    @property
    def measures_latency(self) -> bool:
        """Whether sub-generators were timed."""
        return "latency_ms_p50" in self.best.costs
