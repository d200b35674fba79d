import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.ports import HOST, answers, port_refusal, require_free_port
from ganpress.errors import ServiceUnavailable


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 500)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server():
    with HTTPServer((HOST, 0), Handler) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def test_only_success_is_an_answer(server):
    address = f"http://{HOST}:{server.server_port}"
    assert answers(f"{address}/health")
    assert not answers(f"{address}/other")


def test_a_proxy_is_not_asked_for_this_machine(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://{HOST}:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert answers(f"http://{HOST}:{server.server_port}/health")


def test_a_port_in_use_is_named_with_the_option(server):
    assert port_refusal(server.server_port)
    with pytest.raises(
        ServiceUnavailable, match=f"port {server.server_port} cannot be used .*; choose another with --x"
    ):
        require_free_port(server.server_port, "--x")
