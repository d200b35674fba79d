"""Search for the best sub-generators under a hard budget (Li et al. 2020, section 3.3).

Small spaces are searched exhaustively, larger ones by NSGA-II over the score and the chosen costs. Scoring, counting
and timing come from outside, so that the search knows neither images nor networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ganpress.basics.progress import Ticker, ticker
from ganpress.config.search_section import Objective, SearchConfig
from ganpress.errors import BudgetError
from ganpress.search.cluster_scoring import Scoring, open_scoring
from ganpress.search.evolution import evolve
from ganpress.search.score_book import ScoreBook
from ganpress.search.spec_costs import Budget, CountedCost, ScoredSpec, SpecCosts, best_of, describe, pareto_front
from ganpress.search.workers import ScorerFactory, one_thread
from models.elastic import Spec, WidthSpace

CountCost = Callable[[Spec], CountedCost]
MeasureLatency = Callable[[Spec], float]
"""Milliseconds of one image, measured or predicted; called in this process, torch on one thread, while none scores."""


@dataclass(frozen=True)
class ScoringSpeed:
    """Rate of scoring, without sub-generators that an earlier, killed search had scored."""

    scored: int
    seconds: float
    """Wall time, the start of workers included, latency measurements not."""
    processes: int

    @property
    def per_second(self) -> float:
        """Sub-generators per second; 0 where none was scored."""
        return self.scored / self.seconds if self.scored else 0.0


@dataclass(frozen=True)
class SearchResult:
    """All scored sub-generators (in the order of the requests), the Pareto front, and the best one."""

    scored: list[ScoredSpec]
    front: list[ScoredSpec]
    best: ScoredSpec
    speed: ScoringSpeed = field(compare=False)


def search_specs(
    space: WidthSpace,
    count_cost: CountCost,
    scorer: ScorerFactory,
    config: SearchConfig,
    seed: int,
    measure_latency: MeasureLatency | None = None,
    book: ScoreBook | None = None,
) -> SearchResult:
    """Score sub-generators inside the budget of `config` and return the front of score and costs, and the best.

    The result is the same for any number of workers, and after a kill: `book` keeps every measured value.

    Args:
        space: The specs to choose from.
        count_cost: Parameters, MACs and bytes of a spec.
        scorer: Builds the scorer in each worker.
        config: Objectives, limits and sizes of the search.
        seed: Seed of the evolution.
        measure_latency: Times a spec; needed where `config` has latency among objectives or limits.
        book: Measured values of this same search.

    Raises:
        BudgetError: at once, if not even the smallest sub-generator is within the budget; the message names it and its
            cost.
        ValueError: if latency is asked for without `measure_latency`.
        GanpressError: whatever a scorer raises; the workers end with it.
    """
    if config.measures_latency and measure_latency is None:
        raise ValueError("the search needs measure_latency: latency is among its objectives or limits")
    timer = measure_latency if config.measures_latency else None
    book = book or ScoreBook()
    budget, costs = Budget.of(config), _CostBook(count_cost, timer, book)
    _refuse_impossible(space, budget, costs)
    exhaustive = len(space) <= config.exhaustive_limit
    if exhaustive:
        affordable = [spec for spec in map(space.__getitem__, range(len(space))) if budget.allows(costs.counted(spec))]
    total = len(affordable) if exhaustive else min(config.population * config.generations, len(space))
    done = min(book.count("score"), total)
    with ticker("search", total, "subnets", done) as progress, open_scoring(scorer, config.workers, total) as pool:
        assessment = _Assessment(budget, costs, pool, book, progress)
        if exhaustive:
            batch = len(affordable) if timer is None else config.population
            for start in range(0, len(affordable), batch):
                assessment.assess(affordable[start : start + batch])
        else:
            evolve(space, assessment.assess, lambda spec: budget.allows(costs.counted(spec)), config, seed)
        speed = ScoringSpeed(pool.scored, pool.seconds, pool.processes)
    scored = list(assessment.scored.values())
    front = pareto_front(scored, config.objectives, config.higher_is_better)
    return SearchResult(scored, front, best_of(scored, config.objectives, config.higher_is_better), speed)


def _refuse_impossible(space: WidthSpace, budget: Budget, costs: "_CostBook") -> None:
    smallest = space.smallest
    cheapest = costs.counted(smallest)
    if budget.allows(cheapest):
        cheapest = costs.measured(smallest)
    broken: dict[Objective, float] = {
        objective: value
        for objective, limit in budget.limits.items()
        if (value := cheapest.of(objective)) is not None and value > limit
    }
    if broken:
        found = " and ".join(describe(objective, value) for objective, value in broken.items())
        raise BudgetError(
            f"no sub-generator is within the budget of {budget}: the cheapest one, {smallest}, has {found}; "
            f"raise the budget "
            f"or add a smaller width to supernet.widths"
        )


class _CostBook:
    """Costs by spec, each counted once and timed once."""

    def __init__(self, count_cost: CountCost, timer: MeasureLatency | None, book: ScoreBook) -> None:
        self._count_cost, self._timer, self._book = count_cost, timer, book
        self._counted: dict[Spec, SpecCosts] = {}

    def counted(self, spec: Spec) -> SpecCosts:
        if spec not in self._counted:
            cost = self._count_cost(spec)
            self._counted[spec] = SpecCosts(cost.parameters, cost.macs_exact, cost.size_bytes)
        return self._counted[spec]

    def measured(self, spec: Spec) -> SpecCosts:
        costs = self.counted(spec)
        if self._timer is None:
            return costs
        latency_ms = self._book.get(spec, "latency_ms")
        if latency_ms is None:
            with one_thread():
                latency_ms = self._timer(spec)
            self._book.add(spec, "latency_ms", latency_ms)
        return replace(costs, latency_ms=latency_ms)


@dataclass
class _Assessment:
    """One search in progress: how specs are measured, and what was found."""

    budget: Budget
    costs: _CostBook
    pool: Scoring
    book: ScoreBook
    progress: Ticker
    scored: dict[Spec, ScoredSpec] = field(default_factory=dict)

    def assess(self, specs: Sequence[Spec]) -> list[ScoredSpec | float]:
        """Time, then score a batch; each spec becomes a scored one, or its excess over the budget, unscored.

        All are timed before the first is scored, so that no worker disturbs a measurement.
        """
        costs = {spec: self.costs.measured(spec) for spec in specs}
        inside = [spec for spec in specs if self.budget.allows(costs[spec])]
        for spec, score in self.pool.score([spec for spec in inside if self.book.get(spec, "score") is None]):
            self.book.add(spec, "score", score)
            self.progress.advance(1, f"{spec}: {score:.4g}")
        for spec in inside:
            score_kept = self.book.get(spec, "score")
            assert score_kept is not None
            self.scored[spec] = ScoredSpec(spec, costs[spec], score_kept)
        return [self.scored.get(spec) or self.budget.excess(costs[spec]) for spec in specs]
