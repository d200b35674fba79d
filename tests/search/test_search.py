from dataclasses import dataclass

import pytest

from ganpress.config.search_section import SearchConfig
from ganpress.errors import BudgetError
from ganpress.search.budgeted_search import search_specs
from ganpress.search.score_book import ScoreBook
from models.elastic import Spec, WidthSpace

SMALL = WidthSpace(((2, 3, 5),) * 3)
LARGE = WidthSpace(((2, 3, 4, 6, 8),) * 4)
FEW = {"exhaustive_limit": 10, "population": 24, "generations": 10}


@dataclass(frozen=True)
class SpecPrice:
    parameters: int
    macs_exact: int
    size_bytes: int


def count_cost(spec):
    return SpecPrice(100 * sum(spec.numbers), 10 * sum(spec.numbers) + spec.numbers[0], 7 * spec.numbers[-1])


def score_of(spec):
    """Lower is better; the last places matter most."""
    return 100.0 - sum(number**0.5 * (place + 1) for place, number in enumerate(spec.numbers))


def scorer():
    return score_of


def config(**changes):
    settings = {"metric": "fid", "images": 2, "calibration_images": 2, "workers": 1, "exhaustive_limit": 1000}
    return SearchConfig.model_validate(settings | {"generations": 10, "max_parameters": 10**6} | changes)


def run(space, book=None, measure_latency=None, scorer=scorer, **changes):
    return search_specs(space, count_cost, scorer, config(**changes), 3, measure_latency, book)


def front_vectors(result, *costs):
    return {(one.score, *(getattr(one.costs, cost) for cost in costs)) for one in result.front}


def test_exhaustive_search_finds_the_best_within_the_budget():
    result = run(SMALL, max_parameters=1000)
    allowed = [SMALL[index] for index in range(len(SMALL)) if count_cost(SMALL[index]).parameters <= 1000]
    assert [one.spec for one in result.scored] == allowed
    assert result.best.spec == min(allowed, key=score_of)
    assert 0 < len(allowed) < len(SMALL)


def test_every_limit_is_kept():
    limits = {"max_parameters": 1200, "max_macs": 115, "max_bytes": 30, "max_latency_ms": 9.0}
    result = run(SMALL, measure_latency=lambda spec: float(sum(spec.numbers)), **limits)
    found = [one.costs for one in result.scored]
    assert (max(one.parameters for one in found), max(one.macs_exact for one in found)) == (900, 95)
    assert (max(one.size_bytes for one in found), max(one.latency_ms for one in found)) == (21, 9.0)


def test_latency_limit_is_kept_by_the_evolution_and_nothing_above_it_is_scored():
    asked = []

    def counted():
        return lambda spec: asked.append(spec) or score_of(spec)

    limit = {"max_latency_ms": 14.0, "max_parameters": None, "objectives": ["latency", "bytes"]}
    result = run(LARGE, measure_latency=lambda spec: float(sum(spec.numbers)), scorer=counted, **limit, **FEW)
    assert {sum(spec.numbers) <= 14 for spec in asked} == {True}
    assert len(asked) == len(set(asked)) == len(result.scored) > 24


def test_evolution_finds_the_front_with_a_third_of_the_scores():
    costs = ["macs_exact", "size_bytes"]
    space, settings = WidthSpace(((2, 3, 4, 6, 8),) * 5), {"objectives": ["macs", "bytes"], "max_parameters": 2400}
    full = run(space, exhaustive_limit=10**4, **settings)
    evolved = run(space, exhaustive_limit=10, population=50, generations=13, **settings)
    assert len(evolved.scored) <= 650 < len(full.scored) / 3
    truth, found = front_vectors(full, *costs), front_vectors(evolved, *costs)
    assert len(truth) > 40
    assert len(found & truth) / len(truth) > 0.9
    assert evolved.best == full.best


def test_evolution_scores_no_spec_twice_and_at_most_the_whole_space():
    result = run(SMALL, exhaustive_limit=1, population=20, generations=30)
    assert len(result.scored) == len(SMALL)
    assert run(SMALL).front == result.front


def test_evolution_is_seeded():
    assert run(LARGE, **FEW).scored == run(LARGE, **FEW).scored


def test_evolution_inside_a_tight_budget_spends_its_scores_there():
    result = run(LARGE, max_parameters=1200, **FEW)
    assert all(one.costs.parameters <= 1200 for one in result.scored)
    assert result.best == run(LARGE, max_parameters=1200).best


def test_higher_is_better_turns_the_search_round():
    result = run(SMALL, metric="is", scorer=lambda: lambda spec: -score_of(spec))
    assert result.best.spec == Spec((5, 5, 5))


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"max_parameters": 10}, "budget of 10 parameters: the cheapest one, 2, has 600 parameters; raise"),
        ({"max_macs": 40, "max_parameters": None}, "budget of 40 MACs: the cheapest one, 2, has 62 MACs; raise"),
        ({"max_bytes": 3, "max_macs": 70}, r"70 MACs and .* and 3 bytes: the cheapest one, 2, has 14 bytes; raise"),
        ({"max_macs": 9, "max_bytes": 3}, "the cheapest one, 2, has 62 MACs and 14 bytes; raise the budget or add"),
        ({"max_latency_ms": 0.25}, r"and 0\.25 ms: the cheapest one, 2, has 6 ms; raise the budget"),
    ],
)
@pytest.mark.parametrize("exhaustive_limit", [1, 1000])
def test_impossible_budget_is_refused_at_once(limits, found, exhaustive_limit):
    def never():
        raise AssertionError("a scorer was built")

    with pytest.raises(BudgetError, match=found):
        run(SMALL, None, lambda spec: float(sum(spec.numbers)), never, exhaustive_limit=exhaustive_limit, **limits)


@pytest.mark.parametrize("exhaustive_limit", [10, 1000])
def test_a_batch_is_timed_before_it_is_scored(exhaustive_limit):
    events = []

    def traced():
        return lambda spec: events.append("scored") or score_of(spec)

    def latency(spec):
        events.append("timed")
        return 1.0

    settings = {"population": 6, "generations": 3, "exhaustive_limit": exhaustive_limit}
    run(SMALL, None, latency, traced, objectives=["latency"], **settings)
    batches = "".join(event[0] for event in events).split("st")
    assert len(batches) == (3 if exhaustive_limit == 10 else 5)
    assert all(set(batch.lstrip("t")) <= {"s"} for batch in batches)


def test_latency_must_be_measurable():
    with pytest.raises(ValueError, match="the search needs measure_latency"):
        run(SMALL, objectives=["latency"])


def test_values_survive_a_kill(tmp_path):
    book, scored, timed = tmp_path / "scores.jsonl", [], []

    def counted():
        def score(spec):
            scored.append(spec)
            if len(scored) == 40:
                raise KeyboardInterrupt
            return score_of(spec)

        return score

    def latency(spec):
        timed.append(spec)
        return float(sum(spec.numbers))

    settings = {"objectives": ["latency"], **FEW}
    with pytest.raises(KeyboardInterrupt):
        run(LARGE, ScoreBook(book), latency, counted, **settings)
    with book.open("a") as file:
        file.write('{"spec": "2_3_')  # the line that the kill cut short
    resumed = run(LARGE, ScoreBook(book), latency, counted, **settings)
    assert len(timed) == len(set(timed))
    assert len(scored) == 1 + len(set(scored))
    assert resumed == run(LARGE, None, latency, **settings)
    assert resumed.speed.scored == len(resumed.scored) - 39


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_parameters": None}, "a budget is needed: max_macs, max_parameters, max_bytes or max_latency_ms"),
        ({"objectives": ["macs", "macs"]}, r"objectives must differ, found \['macs', 'macs'\]"),
        ({"objectives": []}, "at least 1 item"),
        ({"objectives": ["time"]}, "'macs', 'parameters', 'bytes' or 'latency'"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"parent_fraction": 0.0}, "greater than or equal to 0.000001"),
    ],
)
def test_wrong_settings_are_refused_by_message(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)
