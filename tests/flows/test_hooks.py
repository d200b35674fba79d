"""Notifications at the end of a run: commands and addresses, with a time limit, and no text of the run in a shell."""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from flows import hooks
from flows.hooks import Ending, tell, tell_as_told_by_environment, telling
from ganpress.errors import ConfigError, DataError

FAILED = Ending(Path("/project"), "mnist", "stage x failed: $(touch x) `touch y` \"'; touch z\n", "f-7")


POSTED = []


class Listener(BaseHTTPRequestHandler):
    """Keeps what is posted, and answers as the path says."""

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        POSTED.append((self.headers["Content-Type"], json.loads(content)))
        if self.path == "/slow":
            time.sleep(3)
        self.send_response(500 if self.path == "/broken" else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    POSTED.clear()
    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_command_gets_the_ending_as_json_and_nothing_of_it_in_its_line(tmp_path):
    assert tell(f"cd {tmp_path}; cat > told.json; printenv GANPRESS_STATUS > status", FAILED) is None
    told = json.loads((tmp_path / "told.json").read_text())
    assert told == {
        "status": "failed",
        "message": FAILED.message,
        "project": "/project",
        "recipe": "mnist",
        "flow_run_id": "f-7",
    }
    assert (tmp_path / "status").read_text() == "failed\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["status", "told.json"]


def test_an_address_gets_a_post(address):
    assert tell(address, FAILED) is None
    ((kind, told),) = POSTED
    assert kind == "application/json"
    assert told["message"] == FAILED.message


@pytest.mark.parametrize(
    ("hook", "line"),
    [
        ("echo no space >&2; exit 3", r"--on-failure: it ended with exit code 3 \(no space\)"),
        ("exit 1", r"--on-failure: it ended with exit code 1"),
        ("/no/such/program", r"--on-failure: it ended with exit code 127 \(.*not found\)"),
        ("{address}/broken", r"--on-failure: 127.0.0.1 answered 500 Internal Server Error"),
        ("http://127.0.0.1:9/x?token=secret", r"--on-failure: 127.0.0.1 did not answer \(.*refused\)"),
        ("http://no.such.host.invalid/token", r"--on-failure: no.such.host.invalid did not answer \(.*\)"),
    ],
)
def test_a_hook_that_fails_is_one_line(hook, line, address):
    import re

    said = tell(hook.format(address=address), FAILED)
    assert re.fullmatch(line, said), said
    assert "secret" not in said


@pytest.mark.parametrize(
    "hook", ["sleep 60 & sleep 60", "{address}/slow", "trap '' TERM INT; while :; do sleep 1; done"]
)
def test_a_hook_that_hangs_is_stopped(hook, address, monkeypatch):
    monkeypatch.setattr(hooks, "LIMIT_S", 0.5)
    started = time.monotonic()
    said = tell(hook.format(address=address), FAILED)
    assert time.monotonic() - started < 2.5
    assert "0.5 s" in said or "timed out" in said


def test_the_hook_of_each_ending(tmp_path, capsys):
    failure, success = f"cat > {tmp_path}/failed", f"cat > {tmp_path}/done"
    with pytest.raises(DataError, match="no data"), telling(tmp_path, None, failure, success):
        raise DataError("no data")
    assert json.loads((tmp_path / "failed").read_text())["message"] == "no data"
    with pytest.raises(ZeroDivisionError), telling(tmp_path, None, failure, success):
        raise ZeroDivisionError
    assert not (tmp_path / "done").exists()
    (tmp_path / "failed").unlink()
    with telling(tmp_path, "mnist", failure, success):
        pass
    assert json.loads((tmp_path / "done").read_text())["status"] == "done"
    for interruption in (KeyboardInterrupt(), typer.Exit(130)):
        with pytest.raises(type(interruption)), telling(tmp_path, None, failure, failure):
            raise interruption
    assert not (tmp_path / "failed").exists()
    with telling(tmp_path, None, None, "exit 4"):
        pass
    assert (
        capsys.readouterr().err
        == "ganpress: --on-success: it ended with exit code 4; the result of the run is not changed\n"
    )


def test_a_run_of_a_server_finds_its_hooks_in_the_environment(tmp_path):
    told = tmp_path / "told"
    tell_as_told_by_environment(FAILED, {hooks.FAILURE: f"cat > {told}"})
    assert json.loads(told.read_text())["flow_run_id"] == "f-7"
    tell_as_told_by_environment(Ending(tmp_path, None), {hooks.FAILURE: f"rm {told}"})
    assert told.exists()


@pytest.mark.parametrize(
    "value", ["", " ", "a\nb", "x" * 5000, "http://", "https:///path", "http://a b", "http://h:x/"]
)
def test_wrong_hooks_are_refused(value):
    with pytest.raises(ConfigError, match="--on-failure"):
        hooks.check_hook(SimpleNamespace(name="on_failure"), value)


@pytest.mark.usefixtures("prefect_variable")
def test_the_command_tells_and_its_exit_code_stays(done, tmp_path):
    told = tmp_path / "told"
    (done.control / "fail-last").touch()
    done.edit("params.yaml", 'title: "ganpress: digits"', "title: other")
    ended = done.call("run", "--on-failure", f"cat > {told}; exit 9", "--on-success", "echo wrong")
    assert ended.returncode == 2
    assert "ganpress: --on-failure: it ended with exit code 9; the result of the run is not changed" in ended.stderr
    assert "stage last failed: last: the disk is made of cheese" in json.loads(told.read_text())["message"]
    (done.control / "fail-last").unlink()
    ended = done.call("run", "--stage", "last", GANPRESS_ON_SUCCESS=f"cat > {told}", **dict(os.environ))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(told.read_text())["status"] == "done"
