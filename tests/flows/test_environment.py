"""The environment of a run."""

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.environment import (
    check_services,
    cores,
    environment,
    export_environment,
    find_root,
    main_root,
    reuse_bytecode,
    stage_environment,
)
from ganpress.basics.git import git_state
from ganpress.errors import ConfigError, ServiceUnavailable


def test_defaults_are_absolute_and_the_users_own_win(toy, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", "/elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    export_environment(toy.root)
    assert os.environ["PREFECT_HOME"] == "/elsewhere"
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{toy.root}/mlflow/tracking.db"
    assert os.environ["DO_NOT_TRACK"] == "true"  # MLflow knows only this word


def test_worktree_uses_the_stores_of_its_checkout(tmp_path):
    assert main_root(tmp_path / ".ganpress" / "worktrees" / "abc") == tmp_path
    assert main_root(tmp_path / "worktrees" / "abc") == tmp_path / "worktrees" / "abc"
    assert environment(tmp_path)["GANPRESS_CHECKPOINTS"] == str(tmp_path / ".ganpress" / "checkpoints")


def test_root_is_found_from_below(toy, tmp_path):
    (toy.root / "deep" / "er").mkdir(parents=True)
    assert find_root(toy.root / "deep" / "er") == toy.root
    with pytest.raises(ConfigError, match="change to the project's folder"):
        find_root(tmp_path)


def test_stage_gets_its_share_of_the_cores_and_the_lineage(toy, monkeypatch):
    for name in ("OMP_NUM_THREADS", "GANPRESS_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "somebody's")
    toy.edit("many.py", "2", "3")
    values = stage_environment(toy.root, 1, "run-1", "small")
    assert values["GANPRESS_THREADS"] == values["OMP_NUM_THREADS"] == str(cores())
    assert stage_environment(toy.root, 10_000, None, None)["GANPRESS_THREADS"] == "1"
    assert values["GANPRESS_FLOW_RUN_ID"] == "run-1"
    assert values["GANPRESS_RECIPE"] == "small"
    assert len(values["GANPRESS_GIT_SHA"]) == 40
    assert values["GANPRESS_GIT_DIRTY"] == "true"
    assert "PREFECT__FLOW_RUN_ID" not in values
    monkeypatch.setenv("GANPRESS_THREADS", "3")
    assert stage_environment(toy.root, 1, None, None)["GANPRESS_THREADS"] == "3"


def test_bytecode_is_kept_where_the_environment_would_keep_none(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/chosen")
    reuse_bytecode(tmp_path)
    assert os.environ["PYTHONPYCACHEPREFIX"] == "/chosen"
    monkeypatch.delenv("PYTHONPYCACHEPREFIX")
    reuse_bytecode(tmp_path)
    assert os.environ["PYTHONPYCACHEPREFIX"] == sys.pycache_prefix == str(tmp_path / ".ganpress" / "pycache")
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    assert not sys.dont_write_bytecode
    monkeypatch.delenv("PYTHONPYCACHEPREFIX")
    reuse_bytecode(tmp_path)
    assert "PYTHONPYCACHEPREFIX" not in os.environ


def test_lock_file_does_not_make_a_commit_dirty(done):
    assert not git_state(done.root).dirty
    done.edit("raw.txt", "raw", "row")
    assert git_state(done.root).dirty
    assert git_state(done.root / "..").sha is None


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers with the status that its path ends in."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_refusal_is_an_answer_but_a_broken_server_is_not(address, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/m.db")
    for status in (200, 401):
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/{status}")
        check_services(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", f"{address}/503")
    with pytest.raises(ServiceUnavailable, match=r"PREFECT_API_URL=.*/503 does not answer \(HTTP 503\)"):
        check_services(tmp_path)
