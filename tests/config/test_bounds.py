"""Every field of every section has both bounds, and no name that DVC ignores in comparisons."""

import types
import typing

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ganpress.config.bounds import ITEM_PATTERN, LEFT_OUT_BY_DVC, is_item_name
from ganpress.config.edge_section import SHORT_FORM
from ganpress.config.params import Params
from ganpress.registries import COMPRESSORS


def fields(section, above=""):
    """Yield (dotted name, annotation, constraints) of every field below a section."""
    for name, info in section.model_fields.items():
        where = f"{above}.{info.alias or name}".lstrip(".")
        yield where, info.annotation, info.metadata
        for model in models_in(info.annotation):
            yield from fields(model, where)


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def leaves(annotation, constraints):
    """Yield (plain type, constraints) of every value that an annotation may hold."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        more = []
        for one in parts[1:]:
            more += one.metadata if isinstance(one, FieldInfo) else [one]
        yield from leaves(parts[0], [*constraints, *more])
    elif origin in (typing.Union, types.UnionType):
        for part in parts:
            yield from leaves(part, constraints)
    elif origin in (tuple, dict, list):
        yield origin, constraints
        for part in parts:
            if part is not Ellipsis:
                yield from leaves(part, [])
    else:
        yield annotation, constraints


ALL = {name: (annotation, constraints) for name, annotation, constraints in fields(Params)}
for algorithm in SHORT_FORM:
    ALL |= {where: found for where, *found in fields(COMPRESSORS[algorithm].options, algorithm)}


@pytest.mark.parametrize("name", ALL)
def test_every_value_has_both_bounds(name):
    for kind, constraints in leaves(*ALL[name]):
        found = {type(one) for one in constraints}
        attributes = {key for one in constraints for key in getattr(one, "__dict__", {})} | found
        if kind in (int, float):
            assert found & {annotated_types.Ge, annotated_types.Gt}, (name, constraints)
            assert found & {annotated_types.Le, annotated_types.Lt}, (name, constraints)
        elif kind is str:
            assert annotated_types.MaxLen in found, (name, constraints)
            assert "pattern" in attributes or name.rpartition(".")[2] == "items", (name, constraints)
        elif kind in (tuple, dict, list):
            assert annotated_types.MaxLen in found, (name, constraints)
        else:
            assert kind is bool or kind is type(None) or issubclass_or_literal(kind), (name, kind)


def issubclass_or_literal(kind):
    return typing.get_origin(kind) is typing.Literal or (isinstance(kind, type) and issubclass(kind, BaseModel))


def is_left_out_by_dvc(name):
    """Whether another value of a parameter of this name is the same to DVC's run cache."""
    from dvc.stage.cache import _get_cache_hash

    one, other = ({"cmd": "x", "params": {"params.yaml": {"a": {name: value}}}} for value in (1, 2))
    return _get_cache_hash(one) == _get_cache_hash(other)


def test_no_parameter_has_a_name_that_dvc_leaves_out():
    parts = {part for name in ALL for part in name.split(".")}
    assert {"image_size", "depth", "metric"} <= parts
    assert not [part for part in parts if is_left_out_by_dvc(part)]
    assert not parts & LEFT_OUT_BY_DVC


def test_names_that_dvc_leaves_out_are_all_known():
    from dvc_data.hashfile.meta import Meta

    of_files = {value for key, value in vars(Meta).items() if key.startswith("PARAM_")}
    assert {name for name in of_files if is_left_out_by_dvc(name)} == LEFT_OUT_BY_DVC == {"size", "nfiles"}
    assert not any(map(is_item_name, LEFT_OUT_BY_DVC))


@pytest.mark.parametrize("name", ["d2", "d2-mse", "subnet-pruned-int8", "a", "9", "a_b", "x" * 64])
def test_names_of_items(name):
    assert is_item_name(name)


BAD_NAMES = ["", ".", "..", "../x", "a/b", "a.b", "a@b", "*", "a b", "a'b", 'a"b', "D2", "-a", "a-", "_a", "a_", "ä",
             "a\n",              "a\0", "$(touch x)",
             "d2; touch PWNED #", "${seed}", "x" * 65, "x" * 300, "size", "nfiles", 3, None, True,
             "\uff41", "a\u200b", "~", "a:b", "a\\b", "%s", "{a}", "a,b"]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_no_names_of_items(name):
    assert not is_item_name(name)


def test_the_pattern_holds_nothing_of_a_shell():
    assert not set(ITEM_PATTERN) & set("$`;&|<>'\"\\ *")
