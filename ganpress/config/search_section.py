"""Sections of the search for a sub-generator and of its extraction."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ganpress.config.base import Section
from ganpress.config.bounds import Bytes, Milliseconds, Operations, PositiveShare, RegisteredName, Repeats, ScoredImages
from ganpress.config.training_section import AnyDistillation, QuickMetric
from ganpress.registries import METRICS, TARGETS

Objective = Literal["macs", "parameters", "bytes", "latency"]
"""Cost of a sub-generator; the score is always the other objective."""
LatencySource = Literal["measured", "table"]
EAGER = "torch"
"""Runtime of a generator that is not exported."""


def _known_runtime(name: str) -> str:
    if name != EAGER and name not in TARGETS:
        raise ValueError(f"unknown runtime '{name}'; known: {EAGER}, {TARGETS.listing()}")
    if name != EAGER and TARGETS[name].stand_in:
        raise ValueError(f"the runtime of '{name}' does not run here, so nothing can be timed in it")
    return name


LatencyRuntime = Annotated[RegisteredName, AfterValidator(_known_runtime)]


class SearchConfig(Section):
    """Search over sub-generators under a hard budget (systems.md section 2)."""

    metric: QuickMetric
    images: ScoredImages
    """Number of images on which each sub-generator is scored, against the validation split."""
    calibration_images: ScoredImages
    """Number of inputs that re-calibrate the normalisation statistics of each sub-generator."""
    objectives: Annotated[tuple[Objective, ...], Field(strict=False, min_length=1, max_length=4)] = ("macs",)
    """Costs that the Pareto front trades against the score. `latency` is timed, the others are counted."""
    max_macs: Operations | None = None
    max_parameters: Operations | None = None
    max_bytes: Bytes | None = None
    max_latency_ms: Milliseconds | None = None
    """Limit in milliseconds of one image on one thread: the median if sub-generators are timed, the minimum if they
    are predicted, because the table holds minima."""
    latency: LatencySource = "measured"
    """How latency is obtained if it is an objective or a limit: every sub-generator is timed, or it is predicted from
    a table of timed layers. The table saves time if a runtime needs seconds to load a network."""
    latency_runtime: LatencyRuntime = EAGER
    """Runtime in which sub-generators are timed: eager torch, or a target of `export`."""
    latency_number_type: RegisteredName = "float32"
    """Number type in which they compute, as in `export.items.X.number_type`. `int8` is the target's own quantization;
    its ranges are calibrated on few inputs because they affect the images, not the time."""
    latency_samples: int = Field(default=12, ge=6, le=10_000)
    """Number of sub-generators that are timed as a whole for the table: its factors are fitted to them, and its error
    is measured on them by leaving out each in turn."""
    latency_repeats: Repeats = 30
    """Number of timed calls of each sub-generator or layer; nothing is timed if latency is neither an objective nor a
    limit."""
    exhaustive_limit: int = Field(ge=1, le=10_000_000)
    """Size up to which a space is searched exhaustively; larger ones are searched by NSGA-II."""
    population: int = Field(default=100, ge=4, le=100_000)
    """Number of sub-generators in a generation; 100 as published."""
    generations: int = Field(ge=1, le=100_000)
    """Number of generations; NSGA-II scores at most population x generations sub-generators, each once."""
    parent_fraction: PositiveShare = 0.25
    """Best share of a generation that has children; 0.25 as published. The whole first front always has children."""
    mutation_fraction: PositiveShare = 0.5
    """Share of the children that are mutated; 0.5 as published."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Number of processes that score, with one thread each. None uses all cores of the stage if starting them saves
    time."""

    @property
    def higher_is_better(self) -> bool:
        """Whether higher values of the metric are better."""
        return METRICS[self.metric].direction == "higher"

    @property
    def measures_latency(self) -> bool:
        """Return whether sub-generators must be timed."""
        return "latency" in self.objectives or self.max_latency_ms is not None

    @model_validator(mode="after")
    def _budget(self) -> "SearchConfig":
        limits = (self.max_macs, self.max_parameters, self.max_bytes, self.max_latency_ms)
        if all(limit is None for limit in limits):
            raise ValueError("a budget is needed: max_macs, max_parameters, max_bytes or max_latency_ms")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives must differ, found {list(self.objectives)}")
        return self

    @model_validator(mode="after")
    def _number_type(self) -> "SearchConfig":
        allowed = ("float32",) if self.latency_runtime == EAGER else TARGETS[self.latency_runtime].number_types
        if self.latency_number_type not in allowed:
            raise ValueError(
                f"latency_number_type of '{self.latency_runtime}' is {', '.join(allowed)}, "
                f"found '{self.latency_number_type}'"
            )
        return self


class SubnetConfig(Section):
    """Extraction of the best sub-generator."""

    fine_tuning: AnyDistillation | None = None
    """Settings to continue the distillation of the extracted network; None extracts it bit-exactly without training."""
