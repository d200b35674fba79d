"""The guard in front of an ASGI application, WebSockets included, and of a real Prefect server."""

import asyncio
import base64
import http.client
import json
from urllib.parse import urlsplit

import pytest

from flows.guarded_app import GuardedApp, guard_from_environment, guard_variables
from flows.prefect_app import BrowserDoor
from ganpress.basics.request_guard import Guard, basic

OWN = [(b"host", b"127.0.0.1:4200")]
LOGIN = "ann:correct horse battery"


async def inner(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Content-Type-Options", b"own")]})
    await send({"type": "http.response.body", "body": b"inner"})


def ask(app, path="/", method="GET", headers=OWN, kind="http", query=b"", body=b""):
    """Return what the application sends, in order."""
    scope = {"type": kind, "path": path, "headers": headers, "query_string": query}
    if kind == "http":
        scope["method"] = method
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_own_requests_pass_and_get_headers_that_the_application_does_not_set():
    start, body = ask(GuardedApp(inner, Guard(4200)))
    assert (start["status"], body["body"]) == (200, b"inner")
    names = [name.lower() for name, _ in start["headers"]]
    assert sorted(names) == [b"content-security-policy", b"cross-origin-resource-policy", b"x-content-type-options"]
    assert dict(start["headers"])[b"X-Content-Type-Options"] == b"own"


@pytest.mark.parametrize("foreign", [(b"origin", b"http://127.0.0.1:8000"), (b"sec-fetch-site", b"cross-site")])
def test_foreign_requests_do_not_reach_the_application(foreign):
    app = GuardedApp(inner, Guard(4200), public=frozenset({"/health"}))
    for path in ("/", "/health"):
        start, body = ask(app, path, headers=[*OWN, foreign])
        assert start["status"] == 403
        assert b"inner" not in body["body"]
        assert not [name for name, _ in start["headers"] if b"access-control" in name.lower()]
        (closed,) = ask(app, path, headers=[*OWN, foreign], kind="websocket")
        assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
    (accepted,) = ask(app, headers=[*OWN, (b"origin", b"http://127.0.0.1:4200")], kind="websocket")
    assert accepted["type"] == "websocket.accept"


def test_login_for_all_but_health_checks_and_sockets_that_ask_themselves():
    guard = Guard(4200, logins=(LOGIN,))
    app = GuardedApp(inner, guard, public=frozenset({"/health"}))
    start, _ = ask(app)
    assert start["status"] == 401
    assert dict(start["headers"])[b"www-authenticate"].startswith(b"Basic ")
    assert ask(app, headers=[*OWN, (b"authorization", basic(LOGIN).encode())])[0]["status"] == 200
    assert ask(app, "/health")[0]["status"] == 200
    assert ask(app, "/health/")[0]["status"] == 401
    assert ask(app, kind="websocket")[0]["type"] == "websocket.close"
    assert ask(GuardedApp(inner, guard, sockets_log_in=True), kind="websocket")[0]["type"] == "websocket.accept"


def test_closed_parts_stay_closed():
    app = GuardedApp(inner, Guard(4200), closed=("/assistant",))
    assert [ask(app, path)[0]["status"] for path in ("/assistant", "/assistant/message", "/other")] == [403, 403, 200]


def test_rules_travel_in_the_environment(monkeypatch):
    for name, value in (guard_variables("0.0.0.0", 4711) | {"GANPRESS_LOGIN": LOGIN}).items():
        monkeypatch.setenv(name, value)
    guard = guard_from_environment()
    assert (guard.port, guard.any_address, guard.logins) == (4711, True, (LOGIN,))


@pytest.fixture
def door():
    return BrowserDoor(inner, "127.0.0.1:4200", "ganpress:secret", "ticket", with_login=False)


def bring(door, ticket):
    start, body = ask(door, "/runs", "POST", query=b"open", body=ticket)
    return start["status"], body["body"]


def test_ticket_opens_once(door):
    assert bring(door, b"other")[0] == 403
    assert bring(door, b"")[0] == 403
    assert bring(door, b"ticket" * 10_000)[0] == 403
    status, body = bring(door, b"ticket")
    assert (status, json.loads(body)) == (200, {"secret": "ganpress:secret"})
    assert bring(door, b"ticket")[0] == 403
    assert bring(door, b"")[0] == 403


def test_login_opens_always():
    door = BrowserDoor(inner, "", "ganpress:secret", "", with_login=True)
    assert [bring(door, b"")[0] for _ in range(2)] == [200, 200]


def test_door_page_runs_its_own_script_only_and_holds_no_secret(door):
    start, body = ask(door, "/runs", query=b"open")
    headers = dict(start["headers"])
    assert headers[b"content-security-policy"].startswith(b"default-src 'none'; script-src 'sha256-")
    assert (headers[b"cache-control"], headers[b"referrer-policy"]) == (b"no-store", b"no-referrer")
    assert b"ganpress:secret" not in body["body"]
    assert b"ticket'" not in body["body"]


def test_other_names_lead_to_the_one_where_the_page_asks(door):
    start, _ = ask(door, "/runs", headers=[(b"host", b"localhost:4200")], query=b"a=b")
    assert (start["status"], dict(start["headers"])[b"location"]) == (307, b"http://127.0.0.1:4200/runs?a=b")
    assert ask(door, "/api/health", headers=[(b"host", b"localhost:4200")])[0]["status"] == 200
    assert ask(door, "/runs")[0]["status"] == 200


def request(server, path, method="GET", headers=(), body=None):
    """Ask the real server and return the status and the headers of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.address).port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", **dict(headers)})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


START = ("/api/deployments/filter", "POST")


def test_server_of_a_run_answers_its_secret_alone(prefect_server):
    right = {"Authorization": basic(prefect_server.secret)}
    assert request(prefect_server, *START, right, b"{}")[::2] == (200, b"[]")
    wrong = basic(prefect_server.secret[:-1] + "~")
    bearer = f"Bearer {base64.b64encode(prefect_server.secret.encode()).decode()}"
    for authorization in ({}, {"Authorization": wrong}, {"Authorization": bearer}, {"Authorization": "Basic"}):
        assert request(prefect_server, *START, authorization, b"{}")[0] == 401
    assert request(prefect_server, "/api/health")[0] == 200


@pytest.mark.parametrize(
    "foreign",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/api/health", "/api/deployments/filter", "/docs", "/api/csrf-token?client=x"])
def test_server_of_a_run_refuses_what_is_foreign_even_with_the_secret(prefect_server, foreign, path):
    headers = foreign | {"Authorization": basic(prefect_server.secret)}
    for method in ("GET", "POST", "OPTIONS"):
        preflight = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
        status, answered, _ = request(prefect_server, path, method, headers | preflight, b"{}")
        assert status == 403
        assert not [name for name in answered if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/api/events/in", "/api/events/out", "/api/logs/out", "/api/task_runs/subscriptions/scheduled"]
)
def test_sockets_of_a_run_are_for_its_own_clients(prefect_server, path):
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    url = f"ws://{urlsplit(prefect_server.address).netloc}{path}"
    with pytest.raises(InvalidStatus, match="403"):
        connect(url, origin="http://127.0.0.1:8000", subprotocols=["prefect"])
    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url) as legacy:
        legacy.recv(timeout=30)
    for token in ("wrong", None):
        with connect(url, subprotocols=["prefect"]) as socket:
            socket.send(json.dumps({"type": "auth", "token": token}))
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=30)
    with connect(url, subprotocols=["prefect"]) as socket:
        socket.send(json.dumps({"type": "auth", "token": prefect_server.secret}))
        assert json.loads(socket.recv(timeout=30)) == {"type": "auth_success"}
