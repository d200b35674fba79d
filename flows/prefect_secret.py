"""The secret of Prefect's API, which can start code: a file that only its owner can read, created once and kept.

Prefect's own clients, workers and command line send it when PREFECT_API_AUTH_STRING holds it.
"""

import os
import re
import secrets
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

from ganpress.basics.request_guard import is_loopback
from ganpress.errors import ServiceUnavailable

NAME = "api-auth-string"
VARIABLE = "PREFECT_API_AUTH_STRING"
SERVER_VARIABLE = "PREFECT_SERVER_API_AUTH_STRING"
RANDOM_BYTES = 32
_FORM = re.compile(r"ganpress:[A-Za-z0-9_-]{43}")


def secret_of(home: Path) -> str:
    """Return the secret below Prefect's home; create a new one if it is missing, damaged or readable by others.

    Args:
        home: Prefect's home, created if necessary; only its owner can enter it afterwards.

    Raises:
        ServiceUnavailable: if it cannot be hidden from other users there.
    """
    try:
        _close_folder(home)
        found = read_secret(home)
        if found is None:
            from filelock import FileLock  # Every command reads the secret, and this import takes 35 ms.

            with FileLock(home / f"{NAME}.lock"):
                found = read_secret(home) or _make(home)
    except OSError as error:
        raise ServiceUnavailable(
            f"the secret of Prefect's API cannot be kept in {home} ({error.strerror or error}); name another folder "
            "with PREFECT_HOME"
        ) from None
    return found


def read_secret(home: Path) -> str | None:
    """Return the secret below `home`; None if there is none that only this user can read."""
    try:
        file = os.open(home / NAME, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or not _is_private(status):
            return None
        text = stream.read(1000).decode("ascii", "replace").strip()
    return text if _FORM.fullmatch(text) else None


def offer_secret(environment: MutableMapping[str, str]) -> None:
    """Make Prefect's clients send the secret if PREFECT_API_URL names a server of this machine."""
    try:
        host = urlsplit(environment.get("PREFECT_API_URL", "")).hostname
    except ValueError:
        return
    if VARIABLE in environment or not host or not is_loopback(host):
        return
    found = read_secret(Path(environment["PREFECT_HOME"]))
    if found is not None:
        environment[VARIABLE] = found


def _close_folder(home: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(home.stat().st_mode) & 0o077:
        home.chmod(0o700)
    if os.name == "posix" and stat.S_IMODE(home.stat().st_mode) & 0o077:
        raise OSError("this file system cannot hide a file from other users")


def _is_private(status: os.stat_result) -> bool:
    return os.name != "posix" or (status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077)


def _make(home: Path) -> str:
    """Write a new secret atomically."""
    secret = f"ganpress:{secrets.token_urlsafe(RANDOM_BYTES)}"
    file, name = tempfile.mkstemp(dir=home, prefix=f".{NAME}-")  # with mode 0600
    try:
        with os.fdopen(file, "w", encoding="ascii") as stream:
            stream.write(f"{secret}\n")
            stream.flush()
            os.fsync(file)
        Path(name).replace(home / NAME)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return secret
