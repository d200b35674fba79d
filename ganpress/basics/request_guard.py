"""Who may ask a server of this machine: the rules of its Host names, its origin and its login, for every server alike.

A page in a browser can send requests to any address of the machine that it is shown on. Three headers tell them apart,
and no page can forge them: `Host` names whom the page thinks it asks (a name of another's that was rebound to 127.0.0.1
stays that name), `Origin` and `Sec-Fetch-Site` say which page asks.
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
    """Why a request is not answered."""

    status: int
    """403, or 401 where a login would help."""
    reason: str


@dataclass(frozen=True)
class Guard:
    """The rules of one server."""

    port: int
    names: frozenset[str] = LOOPBACK_NAMES
    """Host names that the server answers to, in lower case; IPv6 without brackets."""
    any_address: bool = False
    """Whether every IP address is its name, too, as when it listens on all of them; rebinding needs a DNS name."""
    logins: tuple[str, ...] = field(default=(), repr=False)
    """`user:password` texts, each of which opens the server by HTTP Basic; none: it asks for no login."""

    def refusal(self, method: str, headers: Iterable[tuple[str, str]], public: bool = False) -> Refusal | None:
        """Return why a request must not be answered; None if it may.

        Args:
            method: of HTTP; a WebSocket's upgrade is a GET.
            headers: all of them, in any case, repeated ones repeated.
            public: whether no login is needed, as for a health check.
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
        """Whether a Host header means this server."""
        found = _HOST.fullmatch(host)
        if found is None or int(found["port"] or HTTP_PORT) != self.port:
            return False
        name = (found["six"] or found["name"]).lower()
        return name in self.names or (self.any_address and _address(name) is not None)

    def _is_logged_in(self, authorization: Iterable[str]) -> bool:
        given = [_basic(one) for one in authorization]
        # Every pair is compared, so that the time tells nothing.
        return sum(hmac.compare_digest(one, login.encode()) for one in given for login in self.logins) > 0


def _is_own_page(method: str, headers: Mapping[str, list[str]]) -> bool:
    """Whether no browser sends this, or for the server's own page, its user, or a link that was followed."""
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
        ConfigError: if others can reach that host, and there is no login.
    """
    check_host(host, login)
    logins = () if login is None else (login,)
    host = host.lower()
    if is_wildcard(host):
        here = {socket.gethostname().lower(), socket.getfqdn().lower()}
        return Guard(port, LOOPBACK_NAMES | here, any_address=True, logins=logins)
    return Guard(port, LOOPBACK_NAMES | {host}, logins=logins)


def check_host(host: str, login: str | None) -> None:
    """Refuse a host that others can reach, unless there is a login.

    Raises:
        ConfigError: then, or if it is no host at all.
    """
    if not _HOST_OPTION.fullmatch(host):
        raise ConfigError(f"--host '{host}' is no host name and no address; the default is {LOOPBACK}")
    if login is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines, and no login is configured; set "
            f"{LOGIN_VARIABLE}=user:password (a password of at least {SHORTEST_PASSWORD} characters), or keep "
            f"{LOOPBACK} and use a tunnel (docs/security.md)"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_wildcard(host: str) -> bool:
    """Whether `host` means every address of this machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def authority(host: str, port: int) -> str:
    """Return `host:port` as an address of this machine writes it; a wildcard is reached at the loopback address."""
    address = _address(host)
    if address is not None and address.is_unspecified:
        host = LOOPBACK if address.version == 4 else "::1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def configured_login(environment: Mapping[str, str]) -> str | None:
    """Return the login that every server asks for, `user:password`; None if none is configured.

    Raises:
        ConfigError: if it is no login, or its password is too short.
    """
    login = environment.get(LOGIN_VARIABLE)
    if not login:
        return None
    user, _, password = login.partition(":")
    if not user or not login.isprintable():
        raise ConfigError(f"{LOGIN_VARIABLE} is no login; write user:password, or unset it")
    if len(password) < SHORTEST_PASSWORD:
        raise ConfigError(
            f"the password in {LOGIN_VARIABLE} has {len(password)} characters; it needs at least {SHORTEST_PASSWORD}"
        )
    return login
