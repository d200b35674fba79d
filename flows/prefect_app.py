"""The application that `flows.prefect_server` starts: Prefect's own server behind the guard, with a login page for
browsers.

Prefect checks its secret itself (PREFECT_SERVER_API_AUTH_STRING), in the header of each request and in the first
message of each WebSocket. Its page keeps the secret in the browser's storage for this origin and port, where no other
page can read it. There is no cookie, because a browser sends cookies to every port of a machine.
"""

import base64
import dataclasses
import hashlib
import hmac
import json
import os
from urllib.parse import urlsplit

from flows.guarded_app import App, GuardedApp, Receive, Scope, Send, answer, guard_from_environment
from flows.prefect_secret import SERVER_VARIABLE

TICKET_VARIABLE = "GANPRESS_TICKET"
DOOR = b"open"
"""Query of the login page: the printed link is `/runs?open#TICKET`, and browsers do not send the part after # to a
server."""
LARGEST_TICKET = 1000
PUBLIC = frozenset({"/api/health", "/api/ready"})

DOOR_SCRIPT = """
const ticket = location.hash.slice(1);
history.replaceState(null, '', location.pathname + location.search);
const answer = await fetch(location.href, { method: 'POST', body: ticket }).catch(() => null);
if (answer?.ok) localStorage.setItem('prefect-password', btoa((await answer.json()).secret));
if (answer?.ok || localStorage.getItem('prefect-password')) location.replace(location.pathname);
else document.getElementById('told').textContent =
  'This link was used before, or its server has ended. Start the command again and open the link that it prints.';
"""
DOOR_PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ganpress</title></head>
<body><p id="told" role="status">Opening Prefect…</p>
<script type="module">{DOOR_SCRIPT}</script></body></html>
"""
_SCRIPT_DIGEST = base64.b64encode(hashlib.sha256(DOOR_SCRIPT.encode()).digest()).decode()
DOOR_POLICY = f"default-src 'none'; script-src 'sha256-{_SCRIPT_DIGEST}'; connect-src 'self'; frame-ancestors 'none'"
NEVER_KEPT = ((b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))


def create_app() -> App:
    """Return the application for uvicorn."""
    from prefect.server.api.server import create_app as create_prefect

    guard, secret = guard_from_environment(), os.environ[SERVER_VARIABLE]
    with_login = bool(guard.logins)
    if with_login:  # Prefect's clients have only the header that carries the secret.
        guard = dataclasses.replace(guard, logins=(*guard.logins, secret))
    page_asks = urlsplit(os.environ.get("PREFECT_SERVER_UI_API_URL", "")).netloc.lower()
    own_name = page_asks if guard.is_own(page_asks) else ""
    door = BrowserDoor(create_prefect(), own_name, secret, os.environ.pop(TICKET_VARIABLE, ""), with_login)
    return GuardedApp(door, guard, PUBLIC, sockets_log_in=True)


class BrowserDoor:
    """Gives the secret once to the browser that has the ticket; if a login is set, the login replaces the ticket."""

    def __init__(self, app: App, own_name: str, secret: str, ticket: str, with_login: bool) -> None:
        """Add the login page to `app`.

        Args:
            app: Prefect's application.
            own_name: `host:port` that its page sends requests to; if empty, the page's own address.
            secret: secret that the page then sends.
            ticket: value that is accepted once; if empty, no ticket is accepted.
            with_login: whether every client that gets here has logged in.
        """
        self._app, self._own_name, self._secret = app, own_name, secret
        self._ticket, self._with_login = ticket, with_login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
        elif scope["query_string"] == DOOR and scope["method"] == "POST":
            await self._exchange(receive, send)
        elif other := self._other_name(scope):
            await answer(send, 307, "text/plain", b"", (b"location", other))
        elif scope["query_string"] == DOOR and scope["method"] == "GET":
            policy = (b"content-security-policy", DOOR_POLICY.encode())
            await answer(send, 200, "text/html; charset=utf-8", DOOR_PAGE.encode(), policy, *NEVER_KEPT)
        else:
            await self._app(scope, receive, send)

    async def _exchange(self, receive: Receive, send: Send) -> None:
        brought = await _body(receive)
        fits = bool(self._ticket) and hmac.compare_digest(brought, self._ticket.encode())
        if not (fits or self._with_login):
            await answer(send, 403, "text/plain", b"this ticket was used before, or is of another server\n")
            return
        if fits:
            self._ticket = ""
        body = json.dumps({"secret": self._secret}).encode()
        await answer(send, 200, "application/json", body, *NEVER_KEPT)

    def _other_name(self, scope: Scope) -> bytes | None:
        """Return the address to redirect to: the page sends requests to one name of this machine, so under another
        name they would be cross-origin.
        """
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
        if not self._own_name or host == self._own_name or scope["method"] != "GET":
            return None
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        return f"http://{self._own_name}".encode() + raw.partition(b"?")[0] + query


async def _body(receive: Receive) -> bytes:
    """Return a request's body; if it is too long for a ticket, only its beginning."""
    body, more = b"", True
    while more and len(body) <= LARGEST_TICKET:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body
