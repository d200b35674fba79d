"""A web server for the page on this machine: right types, and isolation, which threads of WebAssembly need."""

import logging
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ganpress.errors import ServiceUnavailable

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
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
    """Hands out files of one folder, never a listing."""

    extensions_map = TYPES

    def guess_type(self, path: str | Any) -> str:
        return self.extensions_map.get(Path(path).suffix, self.extensions_map[""])

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: str | Any) -> None:  # noqa: ARG002
        self.send_error(404, "File not found")

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def open_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Listen on this machine only; `serve_forever` of the result answers.

    Args:
        folder: the site.
        port: 0 takes any free one.

    Raises:
        ServiceUnavailable: if the port is in use or not allowed.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(PageHandler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServiceUnavailable(f"port {port} cannot be used ({reason}); choose another with --port") from None
