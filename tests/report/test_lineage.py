"""The layout of the lineage graph."""

from itertools import combinations
from pathlib import Path

import pytest

from ganpress.config.base import read_yaml
from ganpress.config.params import Params, load_params, merge_overlay
from ganpress.report.lineage.graph_picture import BOX_HEIGHT, BOX_WIDTH, Lineage, lay_out
from ganpress.report.lineage.origins import lineage_edges

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lineage() -> Lineage:
    edges = lineage_edges(load_params(CHECKOUT / "params.yaml"))
    return lay_out(edges, {"teacher": "ab" * 16}, "export/subnet-int8", {"candidate/d8", "candidate/d16"})


def test_every_generator_has_a_box(lineage: Lineage) -> None:
    references = {node.reference for node in lineage.nodes}
    assert {"data", "prepare", "judge", "teacher", "supernet", "search", "subnet"} < references
    assert {"student/d4-joint", "control/d2", "compress/subnet-pruned", "export/teacher"} < references


def test_boxes_do_not_overlap_and_lie_inside(lineage: Lineage) -> None:
    for one, other in combinations(lineage.nodes, 2):
        apart = abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
        assert apart, (one.reference, other.reference)
    for node in lineage.nodes:
        assert 0 <= node.x <= lineage.width - BOX_WIDTH
        assert 0 <= node.y <= lineage.height - BOX_HEIGHT


def test_arrows_run_forwards_and_under_no_box(lineage: Lineage) -> None:
    for arrow in lineage.arrows:
        xs = [x for x, _ in arrow.points]
        assert xs == sorted(xs)
        for x, y in arrow.points[1:-1]:
            for node in lineage.nodes:
                inside = node.x < x < node.x + BOX_WIDTH and node.y < y < node.y + BOX_HEIGHT
                assert not inside, (arrow.source, arrow.target, node.reference)
            assert 0 <= y <= lineage.height


def test_way_to_the_goal_leaves_out_what_was_not_chosen(lineage: Lineage) -> None:
    proven = {node.reference for node in lineage.nodes if node.proven}
    assert proven == {
        "data",
        "prepare",
        "judge",
        "candidate/d24",
        "teacher",
        "supernet",
        "search",
        "subnet",
        "compress/subnet-int8",
        "export/subnet-int8",
    }


def test_sources_follow_params(lineage: Lineage) -> None:
    assert lineage.sources("export/subnet-int8") == ["compress/subnet-int8"]
    assert lineage.sources("student/d4-joint") == ["prepare", "teacher"]
    assert lineage.sources("student/d4-mse") == ["teacher"]


def test_digests_are_shown_where_known(lineage: Lineage) -> None:
    digests = {node.reference: node.digest for node in lineage.nodes}
    assert digests["teacher"] == "ab" * 16
    assert digests["subnet"] is None


def test_crossings_of_a_twisted_graph_are_undone() -> None:
    edges = [("a", "left"), ("a", "right"), ("right", "r1"), ("left", "l1"), ("right", "r2"), ("left", "l2")]
    top = {node.reference: node.y for node in lay_out(edges, {}, None).nodes}
    above = top["left"] < top["right"]
    for mine in ("l1", "l2"):
        for other in ("r1", "r2"):
            assert (top[mine] < top[other]) == above


def test_generator_compressed_twice_is_laid_out() -> None:
    edges = [("data", "a"), ("a", "b"), ("b", "c"), ("a", "c")]
    left = {node.reference: node.x for node in lay_out(edges, {}, "c").nodes}
    assert left["data"] < left["a"] < left["b"] < left["c"]


def test_unconnected_parts_lie_below_each_other() -> None:
    layout = lay_out([("a", "b"), ("c", "d"), ("c", "e")], {}, None)
    tops = {node.reference: node.y for node in layout.nodes}
    assert max(tops["a"], tops["b"]) + BOX_HEIGHT <= min(tops["c"], tops["d"], tops["e"])
    test_boxes_do_not_overlap_and_lie_inside(layout)


@pytest.mark.parametrize("recipe", sorted((CHECKOUT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_laid_out_without_overlaps(recipe: Path) -> None:
    params = Params.model_validate(merge_overlay(read_yaml(CHECKOUT / "params.yaml"), read_yaml(recipe)))
    layout = lay_out(lineage_edges(params), {}, None)
    test_boxes_do_not_overlap_and_lie_inside(layout)
    test_arrows_run_forwards_and_under_no_box(layout)
