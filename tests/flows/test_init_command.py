"""What would stop `ganpress init` is refused before the project is created."""

import pytest

from flows.commands.init import init
from ganpress.errors import ConfigError


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"data": "folder:nowhere"}, r"--data: .*nowhere does not exist"),
        ({"data": "banana"}, "data source 'banana' is unknown; known: digits"),
        ({"data": "edges:maps"}, "edges are made from plain images"),
        ({"generator": "gen.py:build"}, "needs --example-input"),
        ({"generator": "gen.py", "example_input": "1x8"}, "does not name a function"),
        ({"generator": "other.py:build", "example_input": "1x8"}, r"--generator: .*other\.py does not exist"),
        ({"generator": "gen.py:build", "example_input": "1x8x"}, "--example-input '1x8x' is not two to six numbers"),
        ({"example_input": "1x8"}, "belong to --generator"),
    ],
)
def test_a_wrong_option_leaves_no_project(asked, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gen.py").write_text("def build(): ...\n")
    with pytest.raises(ConfigError, match=message):
        init(tmp_path / "mine", **asked)
    assert not (tmp_path / "mine").exists()


def test_missing_weights_leave_no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gen.py").write_text("def build(): ...\n")
    with pytest.raises(ConfigError, match=r"--weights: .*none\.pt does not exist"):
        init(tmp_path / "mine", generator="gen.py:build", weights=tmp_path / "none.pt", example_input="1x8")
    assert not (tmp_path / "mine").exists()
