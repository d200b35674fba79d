"""Checks of ports of this machine."""

import socket
import urllib.request

from ganpress.basics.request_guard import LOOPBACK
from ganpress.errors import ServiceUnavailable

HOST = LOOPBACK
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs of this machine without a proxy, whatever the environment says."""


def answers(url: str) -> bool:
    """Return whether a server on this machine answers `url` with success."""
    try:
        with LOCAL.open(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def require_free_port(port: int, option: str, host: str = HOST) -> int:
    """Return `port` if it is free on `host`.

    Raises:
        ServiceUnavailable: if it is in use or invalid; the message names `option` to choose another port.
    """
    reason = port_refusal(port, host)
    if reason is not None:
        where = f"port {port}" if host == HOST else f"port {port} of --host {host}"
        raise ServiceUnavailable(f"{where} cannot be used ({reason}); choose another with {option}")
    return port


def port_refusal(port: int, host: str = HOST) -> str | None:
    """Return why no server can listen on `port` of `host`; None if one can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OverflowError:
            return "not a port number"
        except OSError as error:
            return str(error.strerror or error)
    return None
