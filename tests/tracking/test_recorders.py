"""Recorder processes: beside a stage, once for a flow, switched off, and without MLflow."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ganpress.errors import ConfigError, ServiceUnavailable
from ganpress.tracking import reconcile, recording
from ganpress.tracking.events import journals_folder
from ganpress.tracking.recorders import _store_holds, has_pending

CHECKOUT = Path(__file__).resolve().parents[2]


def test_a_flow_records_with_a_process_of_its_own_and_imports_no_mlflow(scratch):
    program = (
        "import sys\nfrom pathlib import Path\nfrom ganpress.tracking import recording, stage_run\n"
        "root = Path(sys.argv[1])\nwith recording(root, 'flow-9'):\n"
        "    with stage_run('teacher', None, root, {}) as run:\n        run.log_metrics({'mse': 1.0})\n"
        "assert not {'mlflow', 'pandas', 'sqlalchemy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(scratch.root)], cwd=CHECKOUT, check=True)
    assert scratch.runs()["teacher"].info.status == "FINISHED"


@pytest.mark.slow
def test_many_stages_with_recorders_of_their_own_share_a_fresh_store(project):
    program = (
        "import sys\nfrom pathlib import Path\nfrom ganpress.tracking import stage_run\n"
        "with stage_run('student', sys.argv[2], Path(sys.argv[1]), {}) as run:\n    run.log_metrics({'mse': 1.0})\n"
    )
    environment = os.environ | {"GANPRESS_TRACKING": "direct"}
    command = [sys.executable, "-c", program, str(project.root)]
    processes = [subprocess.Popen([*command, f"d{n}"], cwd=CHECKOUT, env=environment) for n in range(4)]
    assert [process.wait(200) for process in processes] == [0] * 4
    assert {name: run.info.status for name, run in project.runs().items()} == {
        f"student@d{n}": "FINISHED" for n in range(4)
    }


@pytest.fixture
def locked_server():
    """A server that answers whoever brings one of two logins."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self):
            allowed = self.headers["Authorization"] in ("Basic YW5uOnBhc3M=", "Bearer token")
            self.send_response(200 if allowed else 401)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_store_with_a_login_is_asked_with_it(locked_server, monkeypatch):
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert not _store_holds(locked_server, "run")
    for name, value in zip(names, ("ann", "pass"), strict=False):
        monkeypatch.setenv(name, value)
    assert _store_holds(locked_server, "run")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    assert _store_holds(locked_server, "run")


def test_a_silent_server_is_one_clear_line_before_any_work(project, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ServiceUnavailable, match="does not answer .*; start it .* or unset MLFLOW_TRACKING_URI"):
            project.stage("teacher").__enter__()
    assert not has_pending(project.root)


def test_modes(project, monkeypatch):
    monkeypatch.setenv("GANPRESS_TRACKING", "off")
    with recording(project.root):
        project.make_model("teacher")
    assert not journals_folder(project.root).exists()
    monkeypatch.setenv("GANPRESS_TRACKING", "loud")
    with pytest.raises(ConfigError, match="GANPRESS_TRACKING is 'loud'; allowed: direct, deferred, off"):
        reconcile(project.root)


def test_a_recorder_that_fails_early_ends_in_one_line_while_its_input_is_open(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/tracking.db")
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "ganpress.tracking.recorder", str(tmp_path), "--reconcile"]
    recorder = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        code = recorder.wait(60)
        lines = recorder.stderr.read().splitlines()
    finally:
        recorder.kill()
    assert code == 2, lines
    assert len(lines) == 1
    assert "cannot be created" in lines[0]
