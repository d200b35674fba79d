"""Hostile values of every field of every section: one line, or a value within its bounds, and nothing else."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganpress.config.base import Section, parse, read_yaml
from ganpress.config.edge_section import SHORT_FORM, CompressItem
from ganpress.config.params import Params, merge_overlay
from ganpress.config.yaml_text import dump_yaml, parse_yaml
from ganpress.errors import ConfigError
from ganpress.registries import COMPRESSORS

ROOT = Path(__file__).resolve().parents[2]
PLAIN = read_yaml(ROOT / "params.yaml")
BASES = {
    "digits": PLAIN,
    **{
        name: merge_overlay(PLAIN, read_yaml(ROOT / "recipes" / f"{name}.yaml"))
        for name in ("smoke_paired", "smoke_unpaired", "smoke_semantic", "mnist_paper")
    },
}
HOSTILE = [
    None, True, False, 0, 1, -1, 2, 3, 10**9, 10**20, -(10**20), 10**400, 2**63, 2**63 - 1, 0.0, -0.0, 0.5, 1.0, 3.0,
    1e-300, 1e9, 1e300, math.inf, -math.inf, math.nan, "", " ", "one", "1", "1.0", "true", "null", "x" * 5000,
    "a\0b", "a\nb", "\x1b[2J", "\u2028", "\ud800", "../x", "$(touch x)", "`x`", "<b>", "é", [], [1], [True], [1.0],
    ["1"], [None], [[]], [[1, 2], [3]], list(range(10_000)), {}, {"size": 1}, {"": 1}, {"../x": {"depth": 2}},
    {"x" * 300: {"depth": 2}}, {"d2; touch x #": {"depth": 2, "loss": "mse"}}, {str(n): {} for n in range(1000)},
]  # fmt: skip


def set_fields(section: Section, above: tuple[str, ...] = ()):
    """Yield the path of every field that a parsed section holds, and of every item."""
    for name, info in type(section).model_fields.items():
        path = (*above, info.alias or name)
        yield path
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from set_fields(value, path)
        elif isinstance(value, dict):
            for key in list(value)[:1]:
                yield (*path, key)
                if isinstance(value[key], Section):
                    yield from set_fields(value[key], (*path, key))
    if isinstance(section, CompressItem):
        yield from ((*above, option) for name in SHORT_FORM for option in COMPRESSORS[name].options.model_fields)


PLACES = [
    (base, path)
    for base, content in BASES.items()
    for path in set_fields(parse(content, Params, base))
    if base == "digits" or path[0] in ("candidate", "student", "control", "supernet", "subnet", "judge", "prepare")
]


def changed(base, path, value):
    return with_value(BASES[base], path, value)


def with_value(content, path, value):
    first, *rest = path
    return {**(content or {}), first: with_value((content or {}).get(first), rest, value) if rest else value}


def check(content):
    """Parse; True where it is accepted, and then all of it within bounds."""
    try:
        params = parse(content, Params, "params.yaml")
    except ConfigError as error:
        refusal = str(error)
    else:
        return check_accepted(params)
    assert "\n" not in refusal, refusal
    assert len(refusal) < 4000, refusal
    return False


def check_accepted(params):
    dumped = params.model_dump(by_alias=True)
    for value in numbers_and_texts(dumped):
        if isinstance(value, float):
            assert math.isfinite(value)
            assert abs(value) <= 10_000_000
        elif isinstance(value, int):
            assert abs(value) < 2**63
        else:
            assert value.isprintable()
            assert len(value) <= 4096
    text = dump_yaml(params.model_dump(mode="json", by_alias=True))
    assert parse(parse_yaml(text, "again"), Params, "again") == params
    return True


def numbers_and_texts(value):
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from numbers_and_texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from numbers_and_texts(one)
    elif isinstance(value, int | float | str) and not isinstance(value, bool):
        yield value


SECTIONS = sorted({(base, path[0]) for base, path in PLACES})


@pytest.mark.parametrize(("base", "name"), SECTIONS)
def test_hostile_values(base, name):
    """Each section alone takes few of them; what it takes, the whole of the parameters takes or refuses in a line."""
    section = next(info.annotation for key, info in Params.model_fields.items() if (info.alias or key) == name)
    for path in [path for one, path in PLACES if one == base and path[0] == name]:
        accepted = [value for value in HOSTILE if is_taken(section, base, path, value)]
        assert len(accepted) < len(HOSTILE) / 2, path
        assert not [value for value in accepted if value in NEVER and type(value) is not bool], path
        if base == "digits":
            for value in accepted:
                check(changed(base, path, value))


NEVER = (10**20, -(10**20), 10**400, 1e300, "a\0b", "a\nb", "\x1b[2J", "\u2028", "\ud800", "x" * 5000)


def is_taken(section, base, path, value):
    if not issubclass(section, Section) if isinstance(section, type) else True:
        return check(changed(base, path, value))
    try:
        parse(changed(base, path, value)[path[0]], section, "params.yaml")
    except ConfigError as error:
        refusal = str(error)
    else:
        return True
    assert "\n" not in refusal
    return False


@pytest.mark.parametrize("base", BASES)
def test_the_bases_are_accepted(base):
    assert check(BASES[base])


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.sampled_from(HOSTILE)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value(place, value):
    check(changed(*place, value))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.sampled_from(PLACES), key=st.text(max_size=20), value=VALUES)
def test_any_key_beside_a_field(place, key, value):
    base, path = place
    if path[-2:-1] != ("items",):
        assert key in [place[1][-1] for place in PLACES] or not check(changed(base, (*path[:-1], key), value))


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False)
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_at_length(place, value):
    check(changed(*place, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", True), ("seed", 1.0), ("seed", "1"), ("seed", 2**63), ("evaluate.images", 10**20),
        ("evaluate.images", 1000.0), ("candidate.training.generator_learning_rate", math.inf),
        ("candidate.training.generator_learning_rate", 1e9), ("candidate.training.batch_size", 10**9),
        ("candidate.items.d8.depth", 10**9), ("candidate.items.d8.depth", True), ("judge.width", 10**9),
        ("judge.features", 10**9), ("search.population", 10**9), ("search.generations", 10**9),
        ("search.workers", 10**9), ("evaluate.neighbours", 10**9), ("prepare.channels", True),
        ("prepare.channels", 1.0), ("prepare.image_size", 32.0), ("student.training.learning_rate", "0.1"),
        ("supernet.sandwich", 1), ("export.min_snr_db", math.nan), ("report.title", ""), ("report.title", "a\nb"),
        ("student.items.d2-mse.spec", "x" * 100_000), ("data.source", "edges:" * 5000 + "digits"),
    ],
)  # fmt: skip
def test_these_are_refused(path, value):
    assert not check(changed("digits", tuple(path.split(".")), value))
