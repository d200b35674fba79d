"""The guard in front of an ASGI application; the server's process gets the rules through its environment."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ganpress.basics.request_guard import Guard, Refusal, configured_login, guard_for

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOST_VARIABLE, PORT_VARIABLE = "GANPRESS_SERVER_HOST", "GANPRESS_SERVER_PORT"
HEADERS = (
    (b"content-security-policy", b"frame-ancestors 'self'; connect-src 'self' blob: data:"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
"""Headers that are added unless the application sets them: pages of other origins may not embed or load its content,
and its own pages send no referrer."""


def guard_variables(host: str, port: int) -> dict[str, str]:
    """Return the variables that `guard_from_environment` reads in the server's process; the login is already in the
    environment.
    """
    return {HOST_VARIABLE: host, PORT_VARIABLE: str(port)}


def guard_from_environment() -> Guard:
    """Return the rules of the server that runs in this process."""
    return guard_for(os.environ[HOST_VARIABLE], int(os.environ[PORT_VARIABLE]), configured_login(os.environ))


class GuardedApp:
    """An ASGI application that answers only requests that its guard allows."""

    def __init__(
        self,
        app: App,
        guard: Guard,
        public: frozenset[str] = frozenset(),
        closed: tuple[str, ...] = (),
        sockets_log_in: bool = False,
    ) -> None:
        """Put the guard in front of `app`.

        Args:
            app: the application.
            guard: the rules.
            public: paths that need no login, such as health checks.
            closed: prefixes of paths that nobody may request.
            sockets_log_in: whether the application checks the secret of a WebSocket itself, in its first message.
        """
        self._app, self._guard, self._public, self._closed = app, guard, public, closed
        self._sockets_log_in = sockets_log_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send if scope["type"] == "websocket" else _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason})
        else:
            await _refuse(_with_headers(send), refusal)

    def _refusal(self, scope: Scope) -> Refusal | None:
        path, is_socket = scope["path"], scope["type"] == "websocket"
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        public = path in self._public or (is_socket and self._sockets_log_in)
        refusal = self._guard.refusal("GET" if is_socket else scope["method"], headers, public)
        if refusal is None and path.startswith(self._closed):
            return Refusal(403, "this part of the server is switched off")
        return refusal


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            named = {name.lower() for name, _ in given}
            message["headers"] = [*given, *(pair for pair in HEADERS if pair[0] not in named)]
        await send(message)

    return send_with_headers


async def _refuse(send: Send, refusal: Refusal) -> None:
    await answer(send, refusal.status, "text/plain; charset=utf-8", f"{refusal.reason}\n".encode())


async def answer(send: Send, status: int, media_type: str, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a complete response."""
    login = [(b"www-authenticate", b'Basic realm="ganpress", charset="UTF-8"')] if status == 401 else []
    start = [(b"content-type", media_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*start, *login, *headers]})
    await send({"type": "http.response.body", "body": body})
