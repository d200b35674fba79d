"""A Ray cluster of this machine alone, which ends with the process that started it, however that ends."""

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from flows.environment import cores, reuse_bytecode
from flows.stage_process import Command, SupervisedProcess
from ganpress.basics.ray_cluster import prepare_environment, require_ray
from ganpress.errors import ServiceUnavailable

HOST = "127.0.0.1"
START_S = 90.0
ATTEMPTS = 3
"""Number of starts. A raylet gives up if its Python agent takes more than 15 s, as on a loaded machine (ray#65983)."""
OBJECT_STORE_BYTES = 100 * 2**20
"""No large object goes through it, because stages leave their results in the project's folder."""
POLL_S = 0.1
FOLDERS = "ganpress-ray-"
"""Prefix of the folders for sockets and logs; the process number follows."""
TOKEN = "RAY_AUTH_TOKEN"
SECURED = {"RAY_AUTH_MODE": "token"}
"""A client of a cluster runs code as the cluster's user, so even the loopback interface requires a secret."""


class LocalNode:
    """The head or another node of a cluster of this machine; it ends with this process."""

    def __init__(self, folder: Path, env: Mapping[str, str], *options: str) -> None:
        """Start the node.

        Args:
            folder: folder of its sockets and logs; the path must be short, because names of sockets are limited.
            env: its environment.
            options: further options of `ray start`.
        """
        self._lines: deque[str] = deque(maxlen=50)
        fixed = ["--block", "--object-store-memory", str(OBJECT_STORE_BYTES)]
        command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", *fixed, *options]
        self.process = SupervisedProcess(Command(command, folder, env, self._lines.append))

    def wait_until_ready(self) -> bool:
        """Wait until the node runs; return whether it started."""
        deadline = time.monotonic() + START_S
        while not any("Ray runtime started" in line for line in self._lines):
            if not self.process.alive or time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    @property
    def last_words(self) -> str:
        return next((line for line in reversed(self._lines) if line.strip()), "no output")

    def stop(self) -> None:
        """End the node and every process that it started."""
        self.process.stop()


def head_options(folder: Path, cpus: int) -> list[str]:
    """Return the options of `ray start` for a head that no other run uses."""
    shared = ["--port", "0", "--num-cpus", str(cpus), "--temp-dir", str(folder)]
    return ["--head", *shared, "--include-dashboard", "false", "--include-log-monitor", "false"]


def head_address(folder: Path, host: str = HOST) -> str:
    """Return the address of a head that has started."""
    (port,) = folder.glob("session_latest/gcs_server_port*")
    return f"{host}:{port.read_text().strip()}"


@contextmanager
def local_cluster(root: Path, cpus: int | None = None) -> Iterator[str]:
    """Start a cluster of this machine, give its address to the block, and leave nothing of it behind.

    Args:
        root: the project's folder, where compiled Python is kept if the environment keeps none.
        cpus: number of cores of the cluster; None takes all that this process may use.

    Raises:
        ConfigError: if Ray is not installed.
        ServiceUnavailable: if the cluster does not start.
    """
    require_ray()
    reuse_bytecode(root)
    secret = {**SECURED, TOKEN: secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in secret}
    os.environ.update(secret)
    prepare_environment(HOST)
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-"))
    node = None
    try:
        for left in range(ATTEMPTS - 1, -1, -1):
            node = LocalNode(folder, os.environ, "--node-ip-address", HOST, *head_options(folder, cpus or cores()))
            if node.wait_until_ready():
                break
            node.stop()
            if not left:
                raise ServiceUnavailable(
                    f"Ray did not start on this machine ({node.last_words}); run again when it has less to do, or "
                    "without --cluster"
                )
        yield head_address(folder)
    finally:
        if node is not None:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _sweep() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        number = folder.name.removeprefix(FOLDERS).partition("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(folder, ignore_errors=True)
