"""The MLflow server that `ganpress ui` starts."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.guarded_app import guard_variables
from flows.mlflow_app import NAME
from flows.ports import HOST, answers, require_free_port
from flows.stage_process import Command, SupervisedProcess
from ganpress.basics.request_guard import authority, check_host, configured_login, is_loopback
from ganpress.errors import ServiceUnavailable
from ganpress.tracking.service import sqlite_path

START_SECONDS = 180.0
POLL_SECONDS = 0.2


class MlflowServer:
    """An MLflow server that ends with this process."""

    def __init__(self, root: Path, port: int, uri: str, host: str = HOST) -> None:
        """Start the server, which answers a few seconds later. `uri` names the store, a SQLite file.

        Raises:
            ConfigError: if other machines can reach `host` and no login is set.
        """
        check_host(host, configured_login(os.environ))
        self.address = f"http://{authority(host, port)}"
        self._last_lines: deque[str] = deque(maxlen=20)
        environment = dict(os.environ)
        # The server reads the store itself and must not act as a client of another server.
        environment.pop("MLFLOW_TRACKING_URI", None)
        environment |= guard_variables(host, port)
        if not is_loopback(host):  # MLflow's own check accepts only loopback names; the guard's check is stricter.
            environment["MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"] = "true"
        settings = (
            root / "mlflow" / "server.env"
        )  # MLflow reads this variable itself; the user's own variables take precedence.
        command = [sys.executable, "-P", "-m", "mlflow", *(["--env-file", str(settings)] if settings.exists() else [])]
        command += ["server", "--workers", "1", "--app-name", NAME]
        command += ["--host", host, "--port", str(port), "--backend-store-uri", uri]
        command += ["--artifacts-destination", str(_artifacts(root, uri))]
        self._process = SupervisedProcess(Command(command, root, environment, self._last_lines.append))

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServiceUnavailable: if it ends or does not answer.
        """
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{self.address}/health"):
            if not self._process.alive:
                last = next((line for line in reversed(self._last_lines) if line.strip()), "no output")
                raise ServiceUnavailable(f"the MLflow server stopped immediately: {last}")
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"the MLflow server did not answer within {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    @property
    def alive(self) -> bool:
        return self._process.alive

    def stop(self) -> None:
        """Stop the server and everything that it started."""
        self._process.stop()


@contextmanager
def mlflow_server(root: Path, port: int, uri: str, host: str = HOST) -> Iterator[MlflowServer]:
    """Start a server of the store `uri`; stop it after the block.

    Raises:
        ServiceUnavailable: if `port` is in use.
    """
    server = MlflowServer(root, require_free_port(port, "--port", host), uri, host)
    try:
        yield server
    finally:
        server.stop()


def _artifacts(root: Path, uri: str) -> Path:
    database = sqlite_path(uri)
    return (database.parent if database else root / "mlflow") / "artifacts"
