"""Ports of this machine."""

import socket
import urllib.request

from ganpress.errors import ServiceUnavailable

HOST = "127.0.0.1"
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of this machine: never through a proxy, whatever the environment says."""


def answers(url: str) -> bool:
    """Whether a server on this machine answers `url` with success."""
    try:
        with LOCAL.open(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def require_free_port(port: int, option: str) -> int:
    """Return `port`.

    Raises:
        ServiceUnavailable: if it is in use or no port; `option` names the way to choose another.
    """
    reason = port_refusal(port)
    if reason is not None:
        raise ServiceUnavailable(f"port {port} cannot be used ({reason}); choose another with {option}")
    return port


def port_refusal(port: int) -> str | None:
    """Why nothing can listen on `port`; None if something can."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OverflowError:
            return "not a port number"
        except OSError as error:
            return str(error.strerror or error)
    return None
