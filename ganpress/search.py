"""Search for the best sub-generator under a hard budget (Li et al. 2020, section 3.3).

Small spaces are searched exhaustively, larger ones by NSGA-II over score and MACs. Scoring and costing come from
outside, so that the search knows neither images nor networks.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ganpress.errors import BudgetError
from ganpress.progress import Ticker, ticker
from ganpress.seeding import derived_seed
from models.elastic import WdcganSpace
from models.wdcgan import WdcganSpec


class SpecCost(Protocol):
    """What a sub-generator costs."""

    @property
    def parameters(self) -> int: ...

    @property
    def macs_exact(self) -> int: ...


@dataclass(frozen=True)
class Budget:
    """Hard upper limits; None sets no limit."""

    max_macs: int | None
    max_parameters: int | None

    def allows(self, cost: SpecCost) -> bool:
        """Whether `cost` keeps every limit."""
        return self.excess(cost) <= 0

    def excess(self, cost: SpecCost) -> float:
        """Largest relative excess over a limit; at most 0 inside the budget."""
        pairs = ((cost.macs_exact, self.max_macs), (cost.parameters, self.max_parameters))
        return max(spent / limit - 1 for spent, limit in pairs if limit is not None)

    def __str__(self) -> str:
        limits = (("MACs", self.max_macs), ("parameters", self.max_parameters))
        return " and ".join(f"{limit:,} {name}" for name, limit in limits if limit is not None)


@dataclass(frozen=True)
class ScoredSpec:
    """A sub-generator with its cost and score."""

    spec: WdcganSpec
    parameters: int
    macs_exact: int
    score: float


@dataclass(frozen=True)
class SearchResult:
    """All that were scored (in order of scoring), the front among them (ascending MACs), and the best."""

    scored: list[ScoredSpec]
    front: list[ScoredSpec]
    best: ScoredSpec


class ScoreBook:
    """Scores by spec; kept in a file of JSON lines when given a path, so that a killed search goes on."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._scores: dict[str, float] = {}
        if path is not None and path.exists():
            text = path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # a line cut short by a kill is scored again
            path.write_text(whole, encoding="utf-8")
            for line in whole.splitlines():
                entry = json.loads(line)
                self._scores[entry["spec"]] = entry["score"]

    def discard(self) -> None:
        """Delete the file: the search has ended, and the next one scores anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def get(self, spec: WdcganSpec) -> float | None:
        """The score of `spec`, or None."""
        return self._scores.get(str(spec))

    def add(self, spec: WdcganSpec, score: float) -> None:
        """Keep a score."""
        self._scores[str(spec)] = score
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"spec": str(spec), "score": score}) + "\n")


@dataclass
class _Search:
    """One search in progress: what can be asked, what was found."""

    cost_of: Callable[[WdcganSpec], SpecCost]
    score_of: Callable[[WdcganSpec], float]
    book: ScoreBook
    progress: Ticker
    scored: dict[WdcganSpec, ScoredSpec]

    def visit(self, spec: WdcganSpec) -> ScoredSpec:
        if spec not in self.scored:
            score = self.book.get(spec)
            if score is None:
                score = self.score_of(spec)
                self.book.add(spec, score)
            cost = self.cost_of(spec)
            self.scored[spec] = ScoredSpec(spec, cost.parameters, cost.macs_exact, score)
            self.progress.advance(1, f"{spec}: {score:.4g}")
        return self.scored[spec]


def search_specs(
    space: WdcganSpace,
    cost_of: Callable[[WdcganSpec], SpecCost],
    score_of: Callable[[WdcganSpec], float],
    higher_is_better: bool,
    budget: Budget,
    exhaustive_limit: int,
    population: int,
    generations: int,
    seed: int,
    book: ScoreBook | None = None,
) -> SearchResult:
    """Score sub-generators inside `budget` and return the front of score over MACs, and the best.

    Raises:
        BudgetError: at once, if not even the smallest sub-generator keeps the budget; names it and its cost.
    """
    cheapest = cost_of(space.smallest)
    if not budget.allows(cheapest):
        raise BudgetError(
            f"no sub-generator keeps the budget of {budget}: the smallest, {space.smallest}, has "
            f"{cheapest.macs_exact:,} MACs and {cheapest.parameters:,} parameters; raise the budget or add a smaller "
            f"depth to supernet.depths"
        )
    if len(space) <= exhaustive_limit:
        candidates = [space[index] for index in range(len(space)) if budget.allows(cost_of(space[index]))]
        with ticker("search", len(candidates), "subnets") as progress:
            search = _Search(cost_of, score_of, book or ScoreBook(), progress, {})
            for spec in candidates:
                search.visit(spec)
    else:
        with ticker("search", population * generations, "subnets") as progress:
            search = _Search(cost_of, score_of, book or ScoreBook(), progress, {})
            _evolve(search, space, higher_is_better, budget, population, generations, seed)
    scored = list(search.scored.values())
    sign = -1 if higher_is_better else 1
    best = min(scored, key=lambda one: (sign * one.score, one.macs_exact))
    return SearchResult(scored, pareto_front(scored, higher_is_better), best)


def pareto_front(scored: Sequence[ScoredSpec], higher_is_better: bool) -> list[ScoredSpec]:
    """The specs that no other beats on both score and MACs, by ascending MACs."""
    sign = -1 if higher_is_better else 1
    front: list[ScoredSpec] = []
    for one in sorted(scored, key=lambda item: (item.macs_exact, sign * item.score)):
        if not front or sign * one.score < sign * front[-1].score:
            front.append(one)
    return front


def _evolve(
    search: _Search,
    space: WdcganSpace,
    higher_is_better: bool,
    budget: Budget,
    population: int,
    generations: int,
    seed: int,
) -> None:
    """Run NSGA-II (Deb et al. 2002, by pymoo) on score and MACs; specs outside the budget are never scored."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.operators.crossover.pntx import TwoPointCrossover
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    def spec_of(genes: Sequence[int]) -> WdcganSpec:
        return WdcganSpec(tuple(space.depths[int(gene)] for gene in genes))

    class SubnetProblem(ElementwiseProblem):  # type: ignore[misc]  # pymoo has no types
        """Minimise (signed score, MACs) subject to the budget."""

        def __init__(self) -> None:
            upper = len(space.depths) - 1
            super().__init__(n_var=space.levels, n_obj=2, n_ieq_constr=1, xl=0, xu=upper, vtype=int)

        def _evaluate(self, x: Sequence[int], out: dict[str, Any], *_: object, **__: object) -> None:
            spec = spec_of(x)
            cost = search.cost_of(spec)
            excess = budget.excess(cost)
            score = search.visit(spec).score if excess <= 0 else np.inf
            signed = -score if higher_is_better and excess <= 0 else score
            out["F"] = [min(signed, 1e30), cost.macs_exact]
            out["G"] = [excess]

    search.visit(space.smallest)
    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=TwoPointCrossover(prob=0.5),
        mutation=PM(prob=0.5, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    minimize(SubnetProblem(), algorithm, ("n_gen", generations), seed=derived_seed(seed, "search") % 2**31)
