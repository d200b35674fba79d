"""Connects to a Ray cluster if `GANPRESS_CLUSTER` names one. The cluster cannot change an output."""

import importlib.util
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ganpress.errors import ConfigError, GanpressError, ServiceUnavailable, shown

ENVIRONMENT = "GANPRESS_CLUSTER"
"""Environment variable with the cluster's address; without it there is no cluster."""
TASK = "GANPRESS_CLUSTER_TASK"
"""Environment variable that tells a stage the resources of each of its tasks, as JSON of Ray's options."""
LOCAL = "local"
"""Names a cluster of this machine alone, which exists as long as the run."""
INSTALL = "uv pip install 'ray>=2.60,<3'"
ANSWER_S = 3.0
HEALTH_S = 30.0
"""A working node answers within a second; importing Ray takes most of this time."""
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[1-9][0-9]{0,4})")
LOOPBACK = ("127.", "localhost", "[::1]")


def require_ray() -> None:
    """Check that Ray is installed, without importing it.

    Raises:
        ConfigError: if it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(f"a cluster needs the package ray, which is not installed; run `{INSTALL}`, on each node")


def check_address(address: str, origin: str = ENVIRONMENT) -> tuple[str, int]:
    """Return host and port of an address.

    Raises:
        ConfigError: if it is not an address.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise ConfigError(
            f"{origin} is '{shown(address, 80)}'; it must be HOST:PORT of the cluster's head, as `ray start --head` "
            f"prints it, or {LOCAL}"
        )
    return match["host"].strip("[]"), int(match["port"])


@contextmanager
def connected(address: str, origin: str = ENVIRONMENT) -> Iterator[Any]:
    """Connect this process to a cluster and yield the module `ray`.

    Raises:
        ConfigError: if Ray is not installed, or the address is not one.
        ServiceUnavailable: if the address does not answer, or has another version of Ray or Python.
    """
    require_ray()
    host, port = check_address(address, origin)
    prepare_environment(address)
    _check_answers(host, port, address, origin)
    ray = _imported(address)
    try:
        yield ray
    finally:
        ray.shutdown()


def prepare_environment(address: str) -> None:
    """Set the variables that Ray reads when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address.startswith(LOOPBACK):  # Ray would replace the loopback's address by that of the network
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def _check_answers(host: str, port: int, address: str, origin: str) -> None:
    """Check that the cluster answers, because `ray.init` would try for ever."""
    advice = f"start the cluster (`ray start --head`), correct the address, or leave {origin} out to run here"
    try:
        socket.create_connection((host, port), ANSWER_S).close()
    except (OSError, UnicodeError) as error:
        raise ServiceUnavailable(f"{origin} {address} does not answer ({error}); {advice}") from None
    command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=HEALTH_S)
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace") if isinstance(error.stderr, bytes) else ""
        why = "it wants another token: set RAY_AUTH_TOKEN" if "Unauthenticated" in said else "no cluster of Ray's there"
        raise ServiceUnavailable(f"{origin} {address} does not answer as a cluster ({why}); {advice}") from None
    if asked.returncode != 0:
        words = _last_words(asked.stderr) or _last_words(asked.stdout)
        raise ServiceUnavailable(f"{origin} {address} does not answer as a cluster ({words}); {advice}")


def _imported(address: str) -> Any:
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # it logs pages for each lost worker
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ServiceUnavailable(
            f"the cluster at {address} cannot be joined ({_last_words(str(error))}); this machine must be one of its "
            f"nodes (`ray start --address {address} --num-cpus 0`), with the same versions of Python and Ray"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():  # Ray replaced the handler by one that exits
            signal.signal(signal.SIGTERM, before)
    return ray


def check_stands(address: str) -> None:
    """Check that a cluster that lost a worker still exists; Ray itself would wait a minute and then end the process.

    Raises:
        ServiceUnavailable: if it has ended.
    """
    try:
        socket.create_connection(check_address(address), ANSWER_S).close()
    except OSError:
        raise ServiceUnavailable(
            f"the cluster at {address} has ended; start it again and run again: finished work is kept"
        ) from None


def explained(error: BaseException, address: str) -> GanpressError:
    """Return an error that says in one line what went wrong in a cluster."""
    name = type(error).__name__
    if name in ("ObjectStoreFullError", "OutOfDiskError"):
        return ServiceUnavailable(
            f"the cluster at {address} has no room for another object ({name}); end what fills it, then run again: "
            "finished work is kept"
        )
    return ServiceUnavailable(
        f"the cluster at {address} failed ({name}: {_last_words(str(error))}); look at `ray status`, then run again: "
        "finished work is kept"
    )


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return shown(lines[-1], 200) if lines else "no reason given"
