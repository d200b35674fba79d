"""A web server for the page on this machine: right types, and isolation, which threads of WebAssembly need."""

import logging
import socket
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ganpress.basics.request_guard import LOOPBACK, Guard, check_host, guard_for
from ganpress.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'none'",  # beside the page's own, which cannot say this
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    "": "application/octet-stream",
}
"""Media types by suffix: not the system's table, which differs between machines."""


class PageHandler(SimpleHTTPRequestHandler):
    """Serves files of one folder, never a listing, to clients that the server's guard allows."""

    extensions_map = TYPES
    server: "PageServer"

    def parse_request(self) -> bool:
        """Read a request; what the guard refuses is answered here and goes no further."""
        if not super().parse_request():
            return False
        refusal = self.server.guard.refusal(self.command, self.headers.items())
        if refusal is None:
            return True
        self.close_connection = True
        self.asks_for_login = refusal.status == 401
        self.send_error(refusal.status, refusal.reason)
        return False

    asks_for_login = False

    def guess_type(self, path: str | Any) -> str:
        return self.extensions_map.get(Path(path).suffix, self.extensions_map[""])

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.asks_for_login:
            self.send_header("WWW-Authenticate", 'Basic realm="ganpress", charset="UTF-8"')
        super().end_headers()

    def list_directory(self, path: str | Any) -> None:  # noqa: ARG002
        self.send_error(404, "File not found")

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


class PageServer(ThreadingHTTPServer):
    """A server with rules of its own."""

    guard: Guard


class _SixServer(PageServer):
    address_family = socket.AF_INET6


def open_server(folder: Path, port: int, host: str = LOOPBACK, login: str | None = None) -> PageServer:
    """Listen; `serve_forever` of the result answers.

    Args:
        folder: the site.
        port: 0 takes any free one.
        host: where to listen.
        login: `user:password` that every client needs.

    Raises:
        ConfigError: if other machines can reach `host` and no login is set.
        ServiceUnavailable: if the port is in use or not allowed.
    """
    check_host(host, login)
    try:
        kind = _SixServer if ":" in host else PageServer
        server = kind((host, port), partial(PageHandler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServiceUnavailable(f"port {port} cannot be used ({reason}); choose another with --port") from None
    server.guard = guard_for(host, server.server_port, login)
    return server
