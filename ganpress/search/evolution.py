"""Multi-objective evolution of width specs by NSGA-II (Deb et al. 2002, by pymoo)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpress.basics.seeding import derived_seed, numpy_generator
from ganpress.config.search_section import SearchConfig
from ganpress.search.spec_costs import ScoredSpec, objective_values
from models.elastic import Spec, WidthSpace

Assess = Callable[[Sequence[Spec]], Sequence[ScoredSpec | float]]
"""Measures specs: each becomes a scored one, or its relative excess over the budget (above 0), unscored."""

Genes = NDArray[np.int64]
"""(N, places): the index of each place's choice."""


def evolve(
    space: WidthSpace,
    assess: Assess,
    affordable: Callable[[Spec], bool],
    config: SearchConfig,
    seed: int,
) -> None:
    """Let `assess` see `config.population` specs a generation, no spec twice.

    As published (Li et al. 2020): the best quarter are parents, half of the children mutate, and every spec keeps the
    counted budget before it is measured. Unlike there, the best are those of the first fronts, the whole first front is
    among the parents however large it is, and mutation and crossover are drawn independently, so that a child may have
    both.

    Args:
        space: The specs; the smallest must be affordable.
        assess: Measures one generation.
        affordable: Whether a spec keeps the limits that are counted, not measured.
        config: Sizes, shares and objectives.
        seed: The same seed asks for the same specs, whenever `assess` gives the same values.
    """
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.rm import ChoiceRandomMutation
    from pymoo.optimize import minimize

    random, seen = numpy_generator(seed, "search", "first generation"), _unseen_only()
    mutation = config.mutation_fraction
    algorithm = NSGA2(
        pop_size=config.population,
        sampling=_first_generation(space, config.population, random),
        selection=_best_parents(config.parent_fraction),
        crossover=UniformCrossover(prob=1 - mutation),
        mutation=ChoiceRandomMutation(prob=mutation),
        repair=_budget_repair(space, affordable),
        eliminate_duplicates=seen,
    )
    problem = _problem(space, assess, config, seen.visited)
    random_seed = derived_seed(seed, "search") % 2**31
    # Not copied: a copy's `seen` would not hear of what the problem evaluates.
    minimize(problem, algorithm, ("n_gen", config.generations), copy_algorithm=False, seed=random_seed)


def _first_generation(space: WidthSpace, population: int, random: np.random.Generator) -> Genes:
    """The smallest and the largest spec, between which fronts extend, and uniform draws."""
    choices = [len(numbers) for numbers in space.choices]
    genes = random.integers(0, choices, (max(population, 2), space.places))
    genes[0], genes[1] = 0, np.array(choices) - 1
    return genes


def shrink(space: WidthSpace, genes: Genes, affordable: Callable[[Spec], bool], random: np.random.Generator) -> Genes:
    """Take random single steps down from `genes` (places,) until the spec is affordable, and no further.

    Costs fall along the steps, so the first affordable one is found by bisection: few costs are counted.
    """
    if affordable(space.at(genes.tolist())):
        return genes
    steps = random.permutation(np.repeat(np.arange(space.places), genes))
    path = [genes, *(genes - np.bincount(steps[:taken], minlength=space.places) for taken in range(1, len(steps) + 1))]
    low, high = 0, len(path) - 1  # path[low] is too dear, path[high] is the smallest spec
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if affordable(space.at(path[middle].tolist())) else (middle, high)
    return path[high]


def _problem(space: WidthSpace, assess: Assess, config: SearchConfig, visited: set[bytes]) -> Any:
    from pymoo.core.problem import Problem
    from pymoo.core.variable import Integer

    class SubnetProblem(Problem):  # type: ignore[misc]  # pymoo has no types
        """Minimise (signed score, costs) subject to the budget, a generation at a time."""

        def __init__(self) -> None:
            variables = {place: Integer(bounds=(0, len(numbers) - 1)) for place, numbers in enumerate(space.choices)}
            super().__init__(vars=variables, n_obj=1 + len(config.objectives), n_ieq_constr=1)

        def _evaluate(self, x: NDArray[Any], out: dict[str, Any], *_: object, **__: object) -> None:
            genes: Genes = np.asarray(x, dtype=np.int64).reshape(len(x), space.places)
            visited.update(row.tobytes() for row in genes)
            assessed = assess([space.at(row) for row in genes.tolist()])
            inside = [index for index, one in enumerate(assessed) if isinstance(one, ScoredSpec)]
            scored = [one for one in assessed if isinstance(one, ScoredSpec)]
            out["F"] = np.zeros((len(genes), self.n_obj))  # outside the budget only the excess counts
            out["F"][inside] = objective_values(scored, config.objectives, config.higher_is_better)
            out["G"] = np.array([[-1.0 if isinstance(one, ScoredSpec) else one] for one in assessed])

    return SubnetProblem()


def _best_parents(fraction: float) -> Any:
    from pymoo.core.selection import Selection

    class BestParents(Selection):  # type: ignore[misc]
        """Parents drawn uniformly from the first front and, up to `fraction` of the population, the next best.

        With several costs nearly all of a population is on its first front. Parents of its corners alone then found
        0.42 of a true front of 176 specs (three costs, 2,000 of 15,625 specs scored), all of them 0.63, draws 0.14.
        """

        def _do(self, _: Any, pop: Any, n_select: int, n_parents: int, random_state: Any = None, **__: Any) -> Any:
            def order(index: int) -> tuple[float, float, float]:
                rank, crowding = pop[index].get("rank"), pop[index].get("crowding")
                return float(pop[index].CV[0]), float(rank or 0), -float(crowding or 0)

            ordered = sorted(range(len(pop)), key=order)
            first_front = sum(order(index)[:2] == (0.0, 0.0) for index in ordered)
            parents = ordered[: max(2, first_front, math.ceil(fraction * len(pop)))]
            return random_state.choice(np.array(parents), (n_select, n_parents))

    return BestParents()


def _budget_repair(space: WidthSpace, affordable: Callable[[Spec], bool]) -> Any:
    from pymoo.core.repair import Repair

    class BudgetRepair(Repair):  # type: ignore[misc]
        """Shrinks what costs too much, so that each generation is spent inside the budget."""

        def _do(self, _: Any, x: NDArray[Any], random_state: Any = None, **__: Any) -> Genes:
            rows = np.asarray(x, dtype=np.int64).reshape(len(x), space.places)
            return np.stack([shrink(space, row, affordable, random_state) for row in rows])

    return BudgetRepair()


def _unseen_only() -> Any:
    from pymoo.core.duplicate import DuplicateElimination

    class UnseenOnly(DuplicateElimination):  # type: ignore[misc]
        """Drops children that any generation has seen, not only the living one."""

        def __init__(self) -> None:
            super().__init__()
            self.visited: set[bytes] = set()

        def _do(self, pop: Any, other: Any, is_duplicate: NDArray[np.bool_]) -> NDArray[np.bool_]:
            taken = set(self.visited) if other is None else {_key(one) for one in other}
            for index, one in enumerate(pop):
                is_duplicate[index] = _key(one) in taken
                if other is None:
                    taken.add(_key(one))
            return is_duplicate

    def _key(individual: Any) -> bytes:
        return np.asarray(individual.X, dtype=np.int64).tobytes()

    return UnseenOnly()
