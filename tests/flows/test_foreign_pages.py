"""A real browser, a page of another origin, and the servers that `ganpress serve` and `ganpress ui` start."""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.environment import environment
from flows.prefect_secret import NAME
from ganpress.basics.request_guard import basic

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
NOBODY = 65534

# Everything that a page may try. Each attempt tells what it got; `blocked` is what it must get.
ATTACK = """async ({target, paths, socket, start}) => {
  const told = {};
  const blocked = error => 'blocked';
  for (const path of paths) {
    told['read ' + path] = await fetch(target + path).then(answer => answer.text(), blocked);
    told['read with credentials ' + path] =
      await fetch(target + path, {credentials: 'include'}).then(answer => answer.text(), blocked);
  }
  const [path, body] = start;
  for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded']) {
    const given = {method: 'POST', body, headers: {'Content-Type': type}};
    told['post ' + type] = await fetch(target + path, given).then(answer => answer.text(), blocked);
    if (type != 'application/json')
      await fetch(target + path, {...given, mode: 'no-cors', credentials: 'include'}).catch(blocked);
  }
  navigator.sendBeacon(target + path, new Blob([body], {type: 'text/plain'}));
  const element = (name, key, address) => new Promise(resolve => {
    const one = document.createElement(name);
    one.onload = () => resolve('loaded');
    one.onerror = () => resolve('blocked');
    one[key] = address;
    document.body.append(one);
  });
  told.script = await element('script', 'src', target + paths[0]);
  told.image = await element('img', 'src', target + paths[1]);
  told.socket = socket === null ? 'blocked' : await new Promise(resolve => {
    const one = new WebSocket(target.replace('http', 'ws') + socket, ['prefect']);
    one.onopen = () => resolve('open');
    one.onerror = () => resolve('blocked');
  });
  told.frame = await new Promise(resolve => {
    const one = document.createElement('iframe');
    one.src = target + paths[0];
    one.onload = () => { try { resolve(one.contentDocument.body.innerText); } catch { resolve('blocked'); } };
    document.body.append(one);
  });
  const frame = document.createElement('iframe');
  frame.name = 'hidden';
  const form = document.createElement('form');
  Object.assign(form, {method: 'POST', action: target + path, target: 'hidden', enctype: 'text/plain'});
  const field = document.createElement('input');
  Object.assign(field, {name: body.slice(0, -1) + ', "x": "', value: '"}'});
  form.append(field);
  document.body.append(frame, form);
  form.submit();
  await new Promise(resolve => setTimeout(resolve, 1000));
  return told;
}"""


class Foreign(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body>")

    def log_message(self, *_arguments):
        pass


@pytest.fixture(scope="module")
def foreign_port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def attacks(context, foreign_port, port, **options):
    """What each attempt of a foreign page got, from two foreign origins, at two names of the server."""
    page = context.new_page()
    for here in ("127.0.0.1", "localhost"):
        page.goto(f"http://{here}:{foreign_port}/")
        for there in ("127.0.0.1", "localhost"):
            told = page.evaluate(ATTACK, {"target": f"http://{there}:{port}", **options})
            assert len(told) >= 10
            yield told
    page.close()


@contextmanager
def started(project: Path, *arguments: str, variables: dict[str, str] | None = None) -> Iterator[str]:
    """Run a command of ganpress until it has printed its links; give what it printed, and stop it."""
    said = project / "said.txt"
    free = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
    env = {**free, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "GANPRESS_TRACKING": "off", **(variables or {})}
    with said.open("w") as stream:
        command = [sys.executable, "-m", "flows", *arguments]
        process = subprocess.Popen(command, cwd=project, env=env, stdout=stream, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 240
        while "Ctrl-C" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield said.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def secret(project):
    return (project / ".prefect" / NAME).read_text().strip()


def call(port, path, body=None, login=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": basic(login)} if login else {})
    with DIRECT.open(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers), timeout=60) as answer:
        return json.load(answer)


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def project(toy):
    for name in environment(toy.root):
        os.environ.pop(name, None)  # put back by the toy's own patch
    return toy.root


def test_served_chain_is_shown_to_its_user_and_started_by_nobody_else(toy, project, chromium, foreign_port):
    port = free_port()
    with started(project, "serve", "--interval", "864000", "--port", str(port)) as said:
        link = re.search(rf"http://127\.0\.0\.1:{port}/deployments\?open#\S+", said)[0]
        key = secret(project)
        deadline = time.monotonic() + 60
        while not (found := call(port, "/api/deployments/filter", {}, key)):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        deployment = found[0]["id"]

        page = chromium.new_context().new_page()
        page.goto(link)
        page.get_by_text("scheduled", exact=False).first.wait_for(timeout=60_000)
        assert page.url == f"http://127.0.0.1:{port}/deployments"
        assert "ganpress" in page.inner_text("body")
        page.goto(link.replace("127.0.0.1", "localhost"))  # again, by the other name, in the same browser
        page.get_by_text("scheduled", exact=False).first.wait_for(timeout=60_000)
        assert page.url == f"http://127.0.0.1:{port}/deployments"

        start = [f"/api/deployments/{deployment}/create_flow_run", '{"parameters": {"force": true}}']
        paths = ["/api/health", "/ui-settings", "/api/deployments/filter", "/deployments?open"]
        for told in attacks(page.context, foreign_port, port, paths=paths, socket="/api/events/in", start=start):
            assert set(told.values()) == {"blocked"}, told
        page.context.close()

        stranger = chromium.new_page()
        stranger.goto(link)
        stranger.get_by_text("This link was used before").wait_for(timeout=60_000)
        stranger.close()

        runs = call(port, "/api/flow_runs/filter", {"limit": 200}, key)
        assert [run["name"] for run in runs if not run["auto_scheduled"]] == []
        for login in (None, "ganpress:", "nobody:nobody"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                call(port, start[0], {}, login)
        check_that_the_secret_stays_inside(project, key, said)
        check_second_user(project, port, start[0])
    assert toy.executed() == []


def check_that_the_secret_stays_inside(project, key, said):
    """Neither printed, nor in a command line, nor in a file that others may read."""
    for process in psutil.process_iter():
        try:
            assert key not in " ".join(process.cmdline())
        except psutil.Error:
            continue
    assert key not in said
    holding = [path for path in project.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert holding == [project / ".prefect" / NAME]


def check_second_user(project, port, path):
    if os.geteuid() != 0 or not shutil.which("curl"):
        return
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "capture_output": True, "text": True}
    command = ["curl", "--silent", "--noproxy", "*", "--request", "POST", "--data", "{}", "--write-out", "%{http_code}"]
    command += ["--header", "Content-Type: application/json", f"http://127.0.0.1:{port}{path}"]
    assert subprocess.run(command, **as_nobody, cwd="/").stdout.endswith("401")
    server = next(one.pid for one in psutil.process_iter() if str(port) in one.cmdline() and "uvicorn" in one.cmdline())
    for file in (project / ".prefect" / NAME, Path(f"/proc/{server}/environ")):
        assert subprocess.run(["/bin/cat", str(file)], **as_nobody, cwd="/").returncode != 0


def test_pages_of_ui_are_shown_to_their_user_and_read_by_nobody_else(toy, project, chromium, foreign_port):
    (project / "mlflow").mkdir()
    shutil.copy(ROOT / "mlflow" / "server.env", project / "mlflow")
    port, prefect_port = free_port(), free_port()
    with started(project, "ui", "--port", str(port), "--prefect-port", str(prefect_port)) as said:
        page = chromium.new_context().new_page()
        elsewhere = []
        page.on("request", lambda one: None if f"127.0.0.1:{port}" in one.url else elsewhere.append(one.url))
        page.goto(re.search(rf"http://127\.0\.0\.1:{port}/\S+", said)[0])
        page.get_by_text("Default", exact=True).first.wait_for(timeout=60_000)
        assert [url for url in elsewhere if url.startswith("http")] == []
        page.goto(re.search(rf"http://127\.0\.0\.1:{prefect_port}/runs\?open#\S+", said)[0])
        page.get_by_text("Run a task or flow to get started").wait_for(timeout=60_000)

        start = ["/ajax-api/2.0/mlflow/experiments/create", '{"name": "foreign"}']
        search = "/ajax-api/2.0/mlflow/experiments/search?max_results=10"
        for told in attacks(
            page.context, foreign_port, port, paths=["/health", "/version", search], socket=None, start=start
        ):
            assert set(told.values()) == {"blocked"}, told
        page.context.close()
        assert [one["name"] for one in call(port, search)["experiments"]] == ["Default"]
        for path in ("/ajax-api/3.0/mlflow/assistant/providers", "/ajax-api/3.0/jobs/search"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                call(port, path)


def test_login_is_asked_for_by_both_servers_of_ui(toy, project, chromium):
    login = "ann:correct horse battery"
    port, prefect_port = free_port(), free_port()
    arguments = ["ui", "--host", "0.0.0.0", "--port", str(port), "--prefect-port", str(prefect_port)]
    with started(project, *arguments, variables={"GANPRESS_LOGIN": login}) as said:
        assert login not in said
        for one, path in (
            (port, "/"),
            (port, "/ajax-api/2.0/mlflow/experiments/search?max_results=1"),
            (prefect_port, "/runs"),
        ):
            for wrong in (None, "ann:wrong horse battery", secret(project) if one == port else None):
                with pytest.raises(urllib.error.HTTPError, match="401"):
                    call(one, path, login=wrong)
        assert call(port, "/ajax-api/2.0/mlflow/experiments/search?max_results=1", login=login)["experiments"]
        with pytest.raises(urllib.error.HTTPError, match="401"):  # Prefect's API wants its secret all the same
            call(prefect_port, "/api/flow_runs/count", {}, login)
        assert call(prefect_port, "/api/flow_runs/count", {}, secret(project)) == 0
        user, _, password = login.partition(":")
        context = chromium.new_context(http_credentials={"username": user, "password": password})
        page = context.new_page()
        page.goto(re.search(rf"http://127\.0\.0\.1:{prefect_port}/runs\?open#\S+", said)[0])
        page.get_by_text("Run a task or flow to get started").wait_for(timeout=60_000)
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_text("Experiments").first.wait_for(timeout=60_000)
        context.close()
