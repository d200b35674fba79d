"""The server of the page, and the command around it."""

import http.client
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ganpress.basics.request_guard import basic
from ganpress.demo.server import open_server
from ganpress.errors import ConfigError, ServiceUnavailable

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


def asked(address, path="/", **headers):
    """Ask by a plain connection, which sends what it is told, and return status, headers and content."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    connection.putrequest("GET", path, skip_host=True)
    for name, value in ({"Host": place.netloc} | headers).items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


@pytest.mark.parametrize(
    "foreign",
    [
        {"Host": None},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=str,
)
def test_foreign_pages_and_names_are_refused(address, foreign):
    for path in ("/", "/main.js", "/original.onnx"):
        status, headers, content = asked(address, path, **foreign)
        assert status == 403
        assert b"original.onnx" not in content
        assert "Access-Control-Allow-Origin" not in headers


def test_own_page_and_links_are_answered(address):
    own = {"Origin": address.rstrip("/"), "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for headers in ({}, own, link, {"Host": urlsplit(address).netloc.replace("127.0.0.1", "localhost")}):
        status, answered, _ = asked(address, **headers)
        assert status == 200
        assert answered["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert answered["X-Content-Type-Options"] == "nosniff"


def test_login(tmp_path):
    (tmp_path / "index.html").write_text("page")
    login = "ann:correct horse battery"
    with open_server(tmp_path, 0, "0.0.0.0", login) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        status, headers, _ = asked(address)
        assert (status, headers["WWW-Authenticate"][:5]) == (401, "Basic")
        assert asked(address, Authorization=basic("ann:wrong horse battery"))[0] == 401
        assert asked(address, Authorization=basic(login))[::2] == (200, b"page")
        assert asked(address, Authorization=basic(login), Host=f"evil.example:{server.server_port}")[0] == 403
        server.shutdown()


def test_other_hosts_need_a_login(tmp_path):
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 can be reached from other machines"):
        open_server(tmp_path, 0, "0.0.0.0")
