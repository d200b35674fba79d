"""The server of the page, and the command around it."""

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ganpress.demo.server import open_server
from ganpress.errors import ServiceUnavailable

ROOT = Path(__file__).resolve().parents[2]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def address(tmp_path):
    for name in ("index.html", "main.js", "ort.mjs", "kernels.wasm", "original.onnx"):
        (tmp_path / name).write_text(name)
    (tmp_path / "runtime").mkdir()
    with open_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("", "text/html; charset=utf-8"),
        ("main.js", "text/javascript; charset=utf-8"),
        ("ort.mjs", "text/javascript; charset=utf-8"),
        ("kernels.wasm", "application/wasm"),
        ("original.onnx", "application/octet-stream"),
    ],
)
def test_types_and_isolation(address, name, media_type):
    with DIRECT.open(address + name) as answer:
        assert answer.headers["Content-Type"] == media_type
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.read().decode() == (name or "index.html")


@pytest.mark.parametrize("name", ["runtime/", "nowhere.js", "../secret.txt", "%2e%2e/secret.txt"])
def test_nothing_but_the_files_of_the_folder(address, tmp_path, name):
    (tmp_path.parent / "secret.txt").write_text("secret")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        DIRECT.open(address + name)


def test_port_in_use_and_no_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceUnavailable, match=rf"port {port} cannot be used \(Address already in use\); choose"):
            open_server(Path(), port)
    with pytest.raises(ServiceUnavailable, match=r"port 70000 cannot be used .*choose another with --port"):
        open_server(Path(), 70000)


def refused(folder, *arguments):
    """Run `ganpress demo` where it must end with exit code 2, and return its one line."""
    (folder / "dvc.yaml").write_text("stages: {}\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows", "demo", *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


def test_command_with_a_port_in_use_is_one_line(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(tmp_path, "--port", str(port))
    assert line == f"ganpress: port {port} cannot be used (Address already in use); choose another with --port"


def test_command_with_nothing_exported_is_one_line(tmp_path):
    line = refused(tmp_path, "--out", str(tmp_path / "site"))
    assert line.startswith("ganpress: nothing to show: ")
    assert not (tmp_path / "site").exists()
