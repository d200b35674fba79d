"""The registries: each entry is valid, and no code compares with a name."""

import ast
from pathlib import Path

import pytest

from ganpress import registries
from ganpress.errors import ConfigError
from ganpress.registries import METRICS, TARGETS
from models import builders, families
from models.registry import Registry

CHECKOUT = Path(__file__).resolve().parents[1]
TABLES = [
    one for module in (registries, families, builders) for one in vars(module).values() if isinstance(one, Registry)
]
ENTRIES = {f"{table.kind} {name}": (table, name) for table in TABLES for name in table.built_in}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_is_an_object_of_its_kind_and_name(entry):
    table, name = ENTRIES[entry]
    found = table[name]
    assert isinstance(found, _class_of(table))
    assert getattr(found, "name", name) == name
    assert table[name] is found
    assert name in table


def _class_of(table):
    module, _, name = table._base.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)


def test_an_unknown_name_is_no_entry_and_is_told_with_the_known_ones():
    assert "gone" not in TARGETS
    assert TARGETS.get("gone") is None
    with pytest.raises(KeyError):
        TARGETS["gone"]
    with pytest.raises(ConfigError, match=f"unknown target 'gone'; known: {', '.join(sorted(TARGETS))}"):
        TARGETS.find("gone")


def branches(tree):
    """Texts that something is compared with, as in `x == "fid"` and `x in ("fid", "kid")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.MatchValue):
            sides = [node.value]
        elif isinstance(node, ast.Compare):  # whether a mapping holds a key is no branch on what is asked about
            sides = [*node.comparators, *([] if isinstance(node.ops[0], ast.In | ast.NotIn) else [node.left])]
        else:
            continue
        for side in sides:
            values = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
            yield from (value.value for value in values if isinstance(value, ast.Constant))


def test_nothing_branches_on_the_name_of_a_metric_or_a_target():
    names = {*METRICS.built_in, *TARGETS.built_in}
    for folder in ("ganpress", "tasks", "flows", "models"):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            found = names & set(branches(ast.parse(path.read_text(encoding="utf-8"))))
            assert not found, f"{path} compares with {found}: what differs belongs into the object of that name"


def test_a_branch_on_a_name_is_found():
    assert set(branches(ast.parse("if x == 'fid' or y in ('onnx', 'b'): pass"))) == {"fid", "onnx", "b"}
    assert set(branches(ast.parse("if 'fid' in row: pass"))) == set()
