"""The rules of every server: which requests it accepts, by Host, origin, kind of request and login."""

import pytest

from ganpress.basics.request_guard import (
    Guard,
    authority,
    basic,
    check_host,
    configured_login,
    guard_for,
    is_loopback,
)
from ganpress.errors import ConfigError

LOGIN = "ann:correct horse battery"


def status(headers, guard=None, method="GET", public=False):
    given = {"Host": "127.0.0.1:4200"} | headers
    refusal = (guard or Guard(4200)).refusal(method, [(k, v) for k, v in given.items() if v is not None], public)
    return None if refusal is None else refusal.status


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:4200", "LOCALHOST:4200", "[::1]:4200"])
def test_names_of_this_machine(host):
    assert status({"Host": host}) is None
    assert status({"Host": host, "Origin": f"http://{host}"}, method="POST") is None


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:4201",
        "127.0.0.1:04200x",
        "evil.example:4200",
        "127.0.0.1.evil.example:4200",
        "localhost.evil.example:4200",
        "evil.example",
        "0.0.0.0:4200",
        "127.0.0.2:4200",
        "localhost.:4200",
        "a@127.0.0.1:4200",
        "127.0.0.1:4200, evil.example",
        "127.0.0.1:4200/",
        "[::1:4200",
        "::1:4200",
        "[::ffff:127.0.0.1]:4200",
        "127.0.0.1:99999",
        "127.0.0.1:4200\x00",
        "127.0.0.1:٤٢٠٠",
    ],
)
def test_other_names_are_refused(host):
    assert status({"Host": host}) == 403
    assert status({"Host": host}, public=True) == 403


def test_two_hosts_are_refused():
    both = [("host", "127.0.0.1:4200"), ("Host", "evil.example:4200")]
    assert Guard(4200).refusal("GET", both).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:8000",
        "https://127.0.0.1:4200",
        "http://localhost:4200",
        "http://[::1]:4200",
        "http://127.0.0.1:4200.evil.example",
        "http://127.0.0.1:4200/",
        "file://",
        "chrome-extension://abc",
        "http://127.0.0.1:4200 http://evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_pages_of_another_origin_are_refused(origin, method):
    assert status({"Origin": origin}, method=method) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something new"])
def test_other_sites_may_only_link(site):
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert status(link) is None
    assert status(link, method="POST") == 403
    assert status(link | {"Sec-Fetch-Dest": "iframe"}) == 403
    assert status(link | {"Sec-Fetch-Dest": "object"}) == 403
    assert status(link | {"Sec-Fetch-Dest": None}) == 403
    for mode, destination in (
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("cors", "empty"),
        ("websocket", "websocket"),
    ):
        assert status({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}) == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_own_page_and_own_user_may_ask(site):
    assert status({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, method="POST") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 401),
        ("", 401),
        ("Basic", 401),
        ("Basic ***", 401),
        ("Bearer " + basic(LOGIN).partition(" ")[2], 401),
        (basic("ann:correct horse batterY"), 401),
        (basic("ann:"), 401),
        (basic(""), 401),
        (basic(LOGIN + " "), 401),
        (basic("änn:пароль"), 401),
        (basic(LOGIN), None),
        (basic(LOGIN).replace("Basic", "basic"), None),
    ],
)
def test_login(given, expected):
    guard = guard_for("127.0.0.1", 4200, LOGIN)
    assert status({"Authorization": given}, guard) == expected
    assert status({"Authorization": given}, guard, public=True) is None
    assert status({"Authorization": basic(LOGIN), "Origin": "http://evil.example"}, guard) == 403
    assert "horse" not in repr(guard)


def test_login_may_hold_any_letters():
    login = configured_login({"GANPRESS_LOGIN": "änn:пароль из слов"})
    assert status({"Authorization": basic(login)}, guard_for("127.0.0.1", 4200, login)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "::1", "127.8.9.10"])
def test_loopback_needs_no_login(host):
    assert is_loopback(host)
    check_host(host, None)
    assert guard_for(host, 80, None).is_own(authority(host, 80))


OUTSIDE = [
    "0.0.0.0",
    "::",
    "192.168.1.5",
    "example.org",
    "fe80::1",
    "0",
    "127.1",
    "2130706433",
    "localhost.example.org",
]


@pytest.mark.parametrize("host", OUTSIDE)
def test_other_hosts_need_a_login(host):
    with pytest.raises(ConfigError, match=f"--host {host} can be reached from other machines, and no login"):
        check_host(host, None)
    check_host(host, LOGIN)
    guard = guard_for(host, 4200, LOGIN)
    assert status({"Authorization": basic(LOGIN), "Host": authority(host, 4200)}, guard) is None
    assert status({"Authorization": basic(LOGIN), "Host": "evil.example:4200"}, guard) == 403


@pytest.mark.parametrize("host", ["", " ", "a b", "a/b", "http://x", "[::1]", "x\n", "ä"])
def test_what_is_no_host(host):
    for login in (None, LOGIN):
        with pytest.raises(ConfigError, match="is neither a host name nor an address"):
            check_host(host, login)


def test_all_addresses_are_own_names_of_a_server_that_listens_on_all():
    guard = guard_for("0.0.0.0", 4200, LOGIN)
    assert guard.is_own("192.168.1.5:4200")
    assert guard.is_own("[fe80::1]:4200")
    assert not guard.is_own("192.168.1.5.evil.example:4200")
    assert not guard_for("192.168.1.5", 4200, LOGIN).is_own("192.168.1.6:4200")


@pytest.mark.parametrize("login", ["ann", ":password of length", "ann:", "ann:elevenchars", "a\nb:long enough pw"])
def test_login_that_is_none(login):
    with pytest.raises(ConfigError) as raised:
        configured_login({"GANPRESS_LOGIN": login})
    assert "GANPRESS_LOGIN" in str(raised.value)
    assert "password of length" not in str(raised.value)


def test_no_login_is_configured():
    assert configured_login({}) is None
    assert configured_login({"GANPRESS_LOGIN": ""}) is None
