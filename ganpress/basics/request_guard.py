"""Decides which requests a server of this machine answers: rules for Host names, origins and the login, the same for
every server.

A web page in a browser can send requests to any address of the user's machine. Three headers identify such requests,
and no page can forge them: `Host` is the name that the page used (a foreign name that was rebound to 127.0.0.1 remains
visible), `Origin` and `Sec-Fetch-Site` identify the page.
"""

import base64
import binascii
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ganpress.errors import ConfigError

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = frozenset({LOOPBACK, "localhost", "::1"})
LOGIN_VARIABLE = "GANPRESS_LOGIN"
SHORTEST_PASSWORD = 12
HTTP_PORT = 80
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_HOST_OPTION = re.compile(r"[A-Za-z0-9._:-]+")


@dataclass(frozen=True)
class Refusal:
    """Reason why a request is refused."""

    status: int
    """HTTP status: 403, or 401 if a login would help."""
    reason: str


@dataclass(frozen=True)
class Guard:
    """The rules of one server."""

    port: int
    names: frozenset[str] = LOOPBACK_NAMES
    """Host names that the server answers to, in lower case; IPv6 without brackets."""
    any_address: bool = False
    """Whether every IP address is accepted too, as when it listens on all of them; rebinding attacks need a DNS
    name."""
    logins: tuple[str, ...] = field(default=(), repr=False)
    """`user:password` texts that HTTP Basic accepts; if empty, the server asks for no login."""

    def refusal(self, method: str, headers: Iterable[tuple[str, str]], public: bool = False) -> Refusal | None:
        """Return why a request must be refused; None if it is allowed.

        Args:
            method: HTTP method; a WebSocket upgrade is a GET.
            headers: all headers, with names in upper or lower case, repeated headers repeated.
            public: whether the path needs no login, such as a health check.
        """
        found: dict[str, list[str]] = {}
        for name, value in headers:
            found.setdefault(name.lower(), []).append(value.strip())
        host = found.get("host", [])
        if len(host) != 1 or not self.is_own(host[0]):
            return Refusal(403, "this Host name is not of this server")
        if any(origin.lower() != f"http://{host[0].lower()}" for origin in found.get("origin", ())):
            return Refusal(403, "pages of another origin may not ask this server")
        if not _is_own_page(method, found):
            return Refusal(403, "pages of another site may only link to this server")
        if public or not self.logins or self._is_logged_in(found.get("authorization", ())):
            return None
        return Refusal(401, "this server asks for a login")

    def is_own(self, host: str) -> bool:
        """Return whether a Host header names this server."""
        found = _HOST.fullmatch(host)
        if found is None or int(found["port"] or HTTP_PORT) != self.port:
            return False
        name = (found["six"] or found["name"]).lower()
        return name in self.names or (self.any_address and _address(name) is not None)

    def _is_logged_in(self, authorization: Iterable[str]) -> bool:
        given = [_basic(one) for one in authorization]
        # Every pair is compared, so that the duration reveals nothing.
        return sum(hmac.compare_digest(one, login.encode()) for one in given for login in self.logins) > 0


def _is_own_page(method: str, headers: Mapping[str, list[str]]) -> bool:
    """Return whether a request comes from no browser, from the server's own page, from its user, or from a link that
    was followed.
    """
    if set(headers.get("sec-fetch-site", ())) <= {"same-origin", "none"}:
        return True
    followed = headers.get("sec-fetch-mode") == ["navigate"] and headers.get("sec-fetch-dest") == ["document"]
    return followed and method in ("GET", "HEAD")


def _basic(authorization: str) -> bytes:
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def basic(login: str) -> str:
    """Return the value of the header `Authorization` for `user:password`."""
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def guard_for(host: str, port: int, login: str | None) -> Guard:
    """Return the rules of a server that listens on `host`.

    Raises:
        ConfigError: if other machines can reach that host and no login is set.
    """
    check_host(host, login)
    logins = () if login is None else (login,)
    host = host.lower()
    if is_wildcard(host):
        here = {socket.gethostname().lower(), socket.getfqdn().lower()}
        return Guard(port, LOOPBACK_NAMES | here, any_address=True, logins=logins)
    return Guard(port, LOOPBACK_NAMES | {host}, logins=logins)


def check_host(host: str, login: str | None) -> None:
    """Refuse a host that other machines can reach unless a login is set.

    Raises:
        ConfigError: if so, or if it is not a valid host.
    """
    if not _HOST_OPTION.fullmatch(host):
        raise ConfigError(f"--host '{host}' is neither a host name nor an address; the default is {LOOPBACK}")
    if login is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines, and no login is configured; set "
            f"{LOGIN_VARIABLE}=user:password (a password of at least {SHORTEST_PASSWORD} characters), or keep "
            f"{LOOPBACK} and use a tunnel (docs/security.md)"
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_wildcard(host: str) -> bool:
    """Return whether `host` means every address of this machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def authority(host: str, port: int) -> str:
    """Return `host:port` for a URL on this machine; a wildcard becomes the loopback address."""
    address = _address(host)
    if address is not None and address.is_unspecified:
        host = LOOPBACK if address.version == 4 else "::1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def configured_login(environment: Mapping[str, str]) -> str | None:
    """Return the login `user:password` that every server asks for; None if none is configured.

    Raises:
        ConfigError: if it is malformed, or its password is too short.
    """
    login = environment.get(LOGIN_VARIABLE)
    if not login:
        return None
    user, _, password = login.partition(":")
    if not user or not login.isprintable():
        raise ConfigError(f"{LOGIN_VARIABLE} is not a login; write user:password, or unset it")
    if len(password) < SHORTEST_PASSWORD:
        raise ConfigError(
            f"the password in {LOGIN_VARIABLE} has {len(password)} characters; it needs at least {SHORTEST_PASSWORD}"
        )
    return login
