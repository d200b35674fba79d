"""Sections about finding and extracting a sub-generator."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ganpress.config.base import Section
from ganpress.config.bounds import Bytes, Milliseconds, Operations, PositiveShare, RegisteredName, Repeats, ScoredImages
from ganpress.config.training_section import AnyDistillation, QuickMetric
from ganpress.registries import METRICS, TARGETS

Objective = Literal["macs", "parameters", "bytes", "latency"]
"""What a sub-generator costs; the score is always the other objective."""
LatencySource = Literal["measured", "table"]
EAGER = "torch"
"""Runtime of a generator that was not exported."""


def _known_runtime(name: str) -> str:
    if name != EAGER and name not in TARGETS:
        raise ValueError(f"unknown runtime '{name}'; known: {EAGER}, {TARGETS.listing()}")
    if name != EAGER and TARGETS[name].stand_in:
        raise ValueError(f"the runtime of '{name}' does not run here, so that nothing can be timed in it")
    return name


LatencyRuntime = Annotated[RegisteredName, AfterValidator(_known_runtime)]


class SearchConfig(Section):
    """Search over sub-generators under a hard budget (systems.md section 2)."""

    metric: QuickMetric
    images: ScoredImages
    """Images that each sub-generator is scored on, against the validation split."""
    calibration_images: ScoredImages
    """Inputs that re-calibrate the normalisation statistics of each sub-generator."""
    objectives: Annotated[tuple[Objective, ...], Field(strict=False, min_length=1, max_length=4)] = ("macs",)
    """Costs that the front trades against the score. `latency` is timed, the others are counted."""
    max_macs: Operations | None = None
    max_parameters: Operations | None = None
    max_bytes: Bytes | None = None
    max_latency_ms: Milliseconds | None = None
    """Milliseconds of one image on one thread: the median where sub-generators are timed, the least where they are
    predicted, as their table holds that."""
    latency: LatencySource = "measured"
    """How latency is known, where it is among objectives or limits: every sub-generator is timed, or predicted from a
    table of timed layers. The table pays where a runtime takes seconds to take a network in."""
    latency_runtime: LatencyRuntime = EAGER
    """What sub-generators are timed in: eager torch, or a target of `export`."""
    latency_number_type: RegisteredName = "float32"
    """What they compute in, as `export.items.X.number_type`. `int8` is the target's own quantization, whose ranges are
    taken from few inputs: they decide the images, not the time."""
    latency_samples: int = Field(default=12, ge=6, le=10_000)
    """Sub-generators that are timed whole for the table: its factors are fitted to them and its error is told by them,
    each left out in turn."""
    latency_repeats: Repeats = 30
    """Timed calls of each sub-generator or layer; without latency among objectives and limits nothing is timed."""
    exhaustive_limit: int = Field(ge=1, le=10_000_000)
    """Spaces up to this size are searched exhaustively, larger ones by NSGA-II."""
    population: int = Field(default=100, ge=4, le=100_000)
    """Sub-generators of a generation; 100 as published."""
    generations: int = Field(ge=1, le=100_000)
    """With NSGA-II at most population x generations sub-generators are scored, each once."""
    parent_fraction: PositiveShare = 0.25
    """Share of a generation, the best, that has children; 0.25 as published. The whole first front always has."""
    mutation_fraction: PositiveShare = 0.5
    """Share of the children that mutate; 0.5 as published."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Processes that score, one thread each. None: all cores of the stage, where their start pays off."""

    @property
    def higher_is_better(self) -> bool:
        """The sense of the metric."""
        return METRICS[self.metric].direction == "higher"

    @property
    def measures_latency(self) -> bool:
        """Whether sub-generators must be timed."""
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
    """Continue distillation of the extracted network alone; None extracts it bit for bit."""
