"""Costs of sub-generators, limits on them, and the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ganpress.config.search_section import Objective, SearchConfig
from models.elastic import Spec

UNITS: dict[Objective, str] = {"macs": "MACs", "parameters": "parameters", "bytes": "bytes", "latency": "ms"}


class CountedCost(Protocol):
    """Costs of a sub-generator that are known without running it; `ganpress.performance.generator_cost.Cost` is one."""

    @property
    def parameters(self) -> int: ...

    @property
    def macs_exact(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...


@dataclass(frozen=True)
class SpecCosts:
    """Costs of one sub-generator for one image."""

    parameters: int
    macs_exact: int
    size_bytes: int
    latency_ms: float | None = None
    """Latency in milliseconds; None if it was not measured."""

    def of(self, objective: Objective) -> float | None:
        """The cost by the name of its objective."""
        values: dict[Objective, float | None] = {
            "macs": self.macs_exact,
            "parameters": self.parameters,
            "bytes": self.size_bytes,
            "latency": self.latency_ms,
        }
        return values[objective]


@dataclass(frozen=True)
class ScoredSpec:
    """A sub-generator with its costs and score."""

    spec: Spec
    costs: SpecCosts
    score: float


@dataclass(frozen=True)
class Budget:
    """Hard upper limits; None sets no limit."""

    max_macs: int | None = None
    max_parameters: int | None = None
    max_bytes: int | None = None
    max_latency_ms: float | None = None

    @classmethod
    def of(cls, config: SearchConfig) -> "Budget":
        """The limits of a section `search`."""
        return cls(config.max_macs, config.max_parameters, config.max_bytes, config.max_latency_ms)

    @property
    def limits(self) -> dict[Objective, float]:
        """The limits that are set."""
        limits: dict[Objective, float | None] = {
            "macs": self.max_macs,
            "parameters": self.max_parameters,
            "bytes": self.max_bytes,
            "latency": self.max_latency_ms,
        }
        return {objective: limit for objective, limit in limits.items() if limit is not None}

    def excess(self, costs: SpecCosts) -> float:
        """Largest relative excess over a limit, at most 0 inside the budget; what was not measured keeps its limit."""
        spent = ((costs.of(objective), limit) for objective, limit in self.limits.items())
        return max((value / limit - 1 for value, limit in spent if value is not None), default=-1.0)

    def allows(self, costs: SpecCosts) -> bool:
        """Whether `costs` keep every limit."""
        return self.excess(costs) <= 0

    def __str__(self) -> str:
        return " and ".join(describe(objective, limit) for objective, limit in self.limits.items())


def describe(objective: Objective, value: float) -> str:
    """A cost with its unit, e.g. ``34,561 parameters`` or ``0.312 ms``."""
    return f"{value:.3g} {UNITS[objective]}" if objective == "latency" else f"{value:,.0f} {UNITS[objective]}"


def objective_values(
    scored: Sequence[ScoredSpec], objectives: Sequence[Objective], higher_is_better: bool
) -> NDArray[np.float64]:
    """Return (N, 1 + objectives): the score, then the costs, all to be minimised.

    Raises:
        ValueError: if the latency is an objective and was not measured.
    """
    sign = -1 if higher_is_better else 1
    rows = [[sign * one.score, *(one.costs.of(objective) for objective in objectives)] for one in scored]
    values = np.array(rows, dtype=np.float64).reshape(len(scored), 1 + len(objectives))  # None becomes NaN
    if np.isnan(values).any():
        raise ValueError(f"every objective of {list(objectives)} must be measured before fronts are compared")
    return values


def pareto_front(
    scored: Sequence[ScoredSpec], objectives: Sequence[Objective], higher_is_better: bool
) -> list[ScoredSpec]:
    """Return the Pareto front over score and `objectives`, by ascending costs.

    Of specs that are equal in all of them, the first one stays.
    """
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    if not scored:
        return []
    values = objective_values(scored, objectives, higher_is_better)
    first = {tuple(row): index for index, row in reversed(list(enumerate(values)))}
    kept = sorted(first.values())
    front = NonDominatedSorting().do(values[kept], only_non_dominated_front=True)
    chosen = [kept[index] for index in front]
    return [scored[index] for index in sorted(chosen, key=lambda index: (*values[index, 1:], values[index, 0]))]


def best_of(scored: Sequence[ScoredSpec], objectives: Sequence[Objective], higher_is_better: bool) -> ScoredSpec:
    """Return the spec of the best score; among equal scores the cheapest by `objectives`, in their order."""
    values = objective_values(scored, objectives, higher_is_better)
    return scored[min(range(len(scored)), key=lambda index: tuple(values[index]))]
