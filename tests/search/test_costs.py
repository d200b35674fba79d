import numpy as np
import pytest

from ganpress.search.spec_costs import Budget, ScoredSpec, SpecCosts, best_of, pareto_front
from models.elastic import Spec

ALL = ("macs", "parameters", "bytes", "latency")


def table(seed, rows=150, values=12):
    """Random scored specs on a coarse grid, so that ties occur."""
    drawn = np.random.default_rng(seed).integers(0, values, (rows, 5)).tolist()
    return [
        ScoredSpec(Spec((index + 1,)), SpecCosts(parameters, macs, size, float(latency)), float(score))
        for index, (parameters, macs, size, latency, score) in enumerate(drawn)
    ]


def vector(one, objectives, sign):
    return (sign * one.score, *(one.costs.of(objective) for objective in objectives))


@pytest.mark.parametrize("higher_is_better", [False, True])
@pytest.mark.parametrize("objectives", [ALL[:1], ALL[1:3], ("bytes", "latency", "macs"), ALL])
def test_front_is_that_of_the_definition(objectives, higher_is_better):
    sign = -1 if higher_is_better else 1
    for seed in range(5):
        scored = table(seed)
        front = pareto_front(scored, objectives, higher_is_better)
        vectors = {vector(one, objectives, sign) for one in scored}
        expected = {
            one
            for one in vectors
            if not any(other != one and all(a <= b for a, b in zip(other, one, strict=True)) for other in vectors)
        }
        assert {vector(one, objectives, sign) for one in front} == expected
        assert len(front) == len(expected)
        assert best_of(scored, objectives, higher_is_better) in front


def test_front_rises_in_its_first_cost():
    costs = [one.costs.macs_exact for one in pareto_front(table(1), ("macs", "bytes"), False)]
    assert costs == sorted(costs)


def test_of_equals_the_first_stays():
    same = [ScoredSpec(Spec((depth,)), SpecCosts(1, 5, 4), 1.0) for depth in (1, 2)]
    assert pareto_front(same, ("macs",), higher_is_better=True) == same[:1]
    assert pareto_front([], ("macs",), higher_is_better=True) == []


def test_front_needs_what_it_compares():
    with pytest.raises(ValueError, match="must be measured"):
        pareto_front([ScoredSpec(Spec((1,)), SpecCosts(1, 5, 4), 1.0)], ("latency",), False)


def test_excess_is_relative_and_that_of_the_worst_limit():
    budget = Budget(max_macs=100, max_parameters=10, max_latency_ms=2.0)
    assert budget.excess(SpecCosts(15, 120, 60, 1.0)) == pytest.approx(0.5)
    assert budget.excess(SpecCosts(10, 50, 60, 3.0)) == pytest.approx(0.5)
    assert budget.allows(SpecCosts(10, 100, 60, 2.0))
    assert budget.allows(SpecCosts(10, 100, 60)), "what is not measured keeps its limit"
    assert str(budget) == "100 MACs and 10 parameters and 2 ms"
