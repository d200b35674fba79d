"""What DVC says about the stages, in words."""

import pytest

from flows.dvc_graph import CleanStages, StageGraph, StageState, read_graph
from ganpress.errors import ConfigError


def stage(name: str, *upstream: str) -> StageState:
    return StageState(name, upstream, "clean", (), None, ())


GRAPH = StageGraph((stage("a"), stage("b@1", "a"), stage("b@2", "a"), stage("c", "b@1"), stage("d")))


def test_selection_and_order():
    assert GRAPH.select() == ("a", "b@1", "b@2", "c", "d")
    assert GRAPH.select(["c", "b"]) == ("b@1", "b@2", "c")
    assert GRAPH.select((), "b") == ("b@1", "b@2", "c")
    assert GRAPH.select((), "b@2") == ("b@2",)
    assert GRAPH.ancestors("c") == {"a", "b@1"}
    with pytest.raises(ConfigError, match="--stage and --from cannot be used together"):
        GRAPH.select(["a"], "b")


def test_never_run(toy):
    graph = read_graph(toy.root)
    assert graph.names() == ("first", "many@a", "many@b", "aside", "last")
    assert graph["last"].upstream == ("many@a", "many@b")
    assert {one.why for one in graph.stages} == {"never run"}
    assert {one.key for one in graph.stages} == {None}


def test_clean_has_keys_that_follow_content(done):
    keys = {one.name: one.key for one in read_graph(done.root).stages}
    assert None not in keys.values()
    assert len(set(keys.values())) == 5
    assert keys == {one.name: one.key for one in read_graph(done.root).stages}
    done.dvc("config", "--local", "cache.type", "copy")
    done.edit("params.yaml", 'title: "ganpress: digits"', "title: other")
    done.dvc("repro")
    after = {one.name: one.key for one in read_graph(done.root).stages}
    assert [name for name in keys if keys[name] != after[name]] == ["last"]


def change_source(toy) -> None:
    toy.edit("many.py", "2", "3")


def change_command(toy) -> None:
    toy.edit("dvc.yaml", "step.py last", "step.py  last")


def remove_output(toy) -> None:
    (toy.root / "artifacts" / "first" / "out.txt").unlink()


def tamper_output(toy) -> None:
    path = toy.root / "artifacts" / "aside" / "out.txt"
    path.unlink()
    path.write_text("other")


def change_raw(toy) -> None:
    toy.edit("raw.txt", "raw", "row")


def remove_raw(toy) -> None:
    (toy.root / "raw.txt").unlink()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_source, {"many@a": ("run", "many.py changed"), "last": ("run", "upstream many@a would run; upstream")}),
        (change_command, {"last": ("run", "its command in dvc.yaml changed"), "aside": ("clean", "")}),
        (remove_output, {"first": ("restore", "output artifacts/first/out.txt missing"), "many@a": ("clean", "")}),
        (tamper_output, {"aside": ("restore", "output artifacts/aside/out.txt was changed by hand")}),
        (change_raw, {"first": ("run", "raw.txt changed"), "aside": ("run", "upstream first would run")}),
        (remove_raw, {"first": ("run", "raw.txt missing")}),
    ],
)
def test_reason_in_words(done, change, expected):
    change(done)
    graph = read_graph(done.root)
    for name, (need, words) in expected.items():
        assert graph[name].need == need
        assert graph[name].why.startswith(words)
        assert bool(graph[name].why) == bool(words)


def test_lost_cache_means_work(done):
    out = done.root / "artifacts" / "first" / "out.txt"
    out.unlink()
    for path in (done.root / ".dvc" / "cache" / "files").rglob("*"):
        if path.is_file():
            path.unlink()
    assert read_graph(done.root)["first"].need == "run"


def test_state_is_read_again_only_after_something_happened_upstream(done):
    clean = CleanStages(done.root, read_graph(done.root))
    before = clean.key("aside")
    out = done.root / "artifacts" / "first" / "out.txt"
    out.unlink()
    out.write_text("other")
    assert clean.key("aside") == before is not None
    clean.touch("first")
    assert clean.key("aside") is None
    assert not clean.is_clean("aside")
    assert not clean.is_clean_now("first")
    assert clean.is_clean_now("last")


def test_folder_without_dvc(tmp_path):
    with pytest.raises(ConfigError, match="is not a DVC project; run `dvc init` there"):
        read_graph(tmp_path)


def test_broken_dvc_yaml(toy):
    (toy.root / "dvc.yaml").write_text("stages: [")
    with pytest.raises(ConfigError, match=r"dvc.yaml cannot be used: .*dvc.yaml"):
        read_graph(toy.root)
