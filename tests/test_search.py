from dataclasses import dataclass

import pytest

from ganpress.errors import BudgetError
from ganpress.search import Budget, ScoreBook, ScoredSpec, pareto_front, search_specs
from models.elastic import WdcganSpace
from models.wdcgan import WdcganSpec


@dataclass(frozen=True)
class SpecPrice:
    parameters: int
    macs_exact: int


def cost_of(spec):
    return SpecPrice(100 * sum(spec.widths), 10 * sum(spec.widths) + spec.widths[0])


def score_of(spec):
    """Lower is better; the last levels matter most."""
    return 100.0 - sum(width**0.5 * (level + 1) for level, width in enumerate(spec.widths))


def run(space, budget, exhaustive_limit, score=score_of, higher=False, book=None):
    return search_specs(space, cost_of, score, higher, budget, exhaustive_limit, 24, 10, seed=3, book=book)


def test_exhaustive_search_finds_the_best_within_the_budget():
    space = WdcganSpace((2, 3, 5), 3)
    budget = Budget(None, 2500)
    result = run(space, budget, 100)
    allowed = [space[index] for index in range(len(space)) if cost_of(space[index]).parameters <= 2500]
    assert {one.spec for one in result.scored} == set(allowed)
    assert result.best.spec == min(allowed, key=score_of)
    assert 0 < len(allowed) < len(space)


def test_front_has_no_dominated_spec():
    result = run(WdcganSpace((2, 3, 5), 3), Budget(10**6, None), 100)
    for one in result.front:
        assert not any(other.score <= one.score and other.macs_exact < one.macs_exact for other in result.scored)
    assert result.best in result.front


def test_evolution_comes_near_the_exhaustive_best_with_fewer_scores():
    space, budget = WdcganSpace((2, 3, 4, 6, 8), 4), Budget(None, 6000)
    full, evolved = run(space, budget, 1000), run(space, budget, 10)
    assert len(evolved.scored) < len(full.scored) / 2
    assert all(one.parameters <= 6000 for one in evolved.scored)
    scores = sorted(one.score for one in full.scored)
    assert evolved.best.score <= scores[len(scores) // 20]


def test_evolution_is_seeded():
    space, budget = WdcganSpace((2, 3, 4, 6, 8), 4), Budget(None, 6000)
    assert run(space, budget, 10).scored == run(space, budget, 10).scored


def test_higher_is_better_turns_the_search_round():
    result = run(WdcganSpace((2, 3, 5), 3), Budget(10**6, None), 100, score=lambda spec: -score_of(spec), higher=True)
    assert result.best.spec == WdcganSpec((5, 5, 5))


def test_impossible_budget_is_refused_at_once():
    def never(spec):
        raise AssertionError(f"scored {spec}")

    with pytest.raises(BudgetError, match=r"budget of 10 parameters: the smallest, 2, has 148 MACs and 1,400 param"):
        run(WdcganSpace((2, 3, 5), 3), Budget(None, 10), 100, score=never)


def test_scores_survive_a_kill(tmp_path):
    space, book = WdcganSpace((2, 3), 3), tmp_path / "scores.jsonl"
    calls = []

    def counted(spec):
        calls.append(spec)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score_of(spec)

    with pytest.raises(KeyboardInterrupt):
        run(space, Budget(10**6, None), 100, score=counted, book=ScoreBook(book))
    with book.open("a") as file:
        file.write('{"spec": "2_3_')  # the line that the kill cut short
    resumed = run(space, Budget(10**6, None), 100, score=counted, book=ScoreBook(book))
    assert len(calls) == 1 + len(space)
    assert resumed == run(space, Budget(10**6, None), 100)


def test_pareto_front_of_equals_keeps_one():
    same = [ScoredSpec(WdcganSpec((depth,)), 1, 5, 1.0) for depth in (1, 2)]
    assert len(pareto_front(same, higher_is_better=True)) == 1
