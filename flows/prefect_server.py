"""The Prefect API that a flow talks to: the one named by PREFECT_API_URL, or a server of our own for this process.

Prefect can start a temporary server itself, but leaves it orphaned when the flow gets SIGTERM or kill -9. Ours stands
under a supervisor, and starts while this process still imports Prefect and reads the graph.
"""

import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from flows.ports import HOST, answers, require_free_port
from flows.stage_process import SupervisedProcess
from ganpress.errors import ServiceUnavailable
from ganpress.whole_files import mark_made, remove_half_made

POLL_S = 0.05
SEND_TIMEOUT_S = 5.0


# What a server that lives for one run never needs: schedules, automations, work pools. They would poll all the time.
IDLE_SERVICES = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)


class PrefectServer:
    """A Prefect server that ends with this process."""

    def __init__(self, port: int, standing: bool) -> None:
        """Start the server; it answers some seconds later.

        Args:
            port: a free port of this machine.
            standing: with the user interface and the services that a schedule needs; else only the API.
        """
        self.address = f"http://{HOST}:{port}"
        self.api_url = f"{self.address}/api"
        self._last_lines: deque[str] = deque(maxlen=20)
        home = Path(os.environ["PREFECT_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        # Two servers that make the database's tables at once would both fail.
        self._starting = FileLock(home / "server-start.lock")
        self._starting.acquire()
        remove_half_made(home / "prefect.db", "flow_run")
        self._database = home / "prefect.db"
        self._process = SupervisedProcess(
            _server_command(port), home, _server_environment(self.api_url, standing), self._last_lines.append
        )

    def wait_until_ready(self) -> None:
        """Return when the server answers.

        Raises:
            ServiceUnavailable: if it ends or stays silent.
        """
        limit_s = float(os.environ.get("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"))
        deadline = time.monotonic() + limit_s
        try:
            while not answers(f"{self.api_url}/health"):
                if not self._process.alive:
                    raise ServiceUnavailable(f"the local Prefect server ended at once: {self._last_words()}")
                if time.monotonic() > deadline:
                    raise ServiceUnavailable(f"the local Prefect server did not answer within {limit_s:.0f} s")
                time.sleep(POLL_S)
            mark_made(self._database)
        finally:
            self._starting.release()

    def _last_words(self) -> str:
        return next((line for line in reversed(self._last_lines) if line.strip()), "no output")

    def stop(self) -> None:
        """End the server and everything it started."""
        self._starting.release()
        self._process.stop()


@contextmanager
def local_prefect(port: int | None = None, standing: bool = False) -> Iterator[PrefectServer | None]:
    """Start a server unless PREFECT_API_URL names one, and point Prefect at it; stop it after the block.

    To be entered before `prefect` is imported, which reads its environment once.

    Raises:
        ServiceUnavailable: if `port` is in use.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield None
        return
    server = PrefectServer(_free_port() if port is None else require_free_port(port, "--port"), standing)
    os.environ["PREFECT_API_URL"] = server.api_url
    try:
        yield server
        _send_what_is_left()
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.stop()


def _send_what_is_left() -> None:
    """Let Prefect send its queued logs and states; without their server it would try for a minute at exit."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker

    for handler in logging.getLogger("prefect.flow_runs").handlers:
        handler.flush()
    EventsWorker.drain_all(timeout=SEND_TIMEOUT_S)


def _server_command(port: int) -> list[str]:
    app = "prefect.server.api.server:create_app"
    options = ["--host", HOST, "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    return [sys.executable, "-P", "-m", "uvicorn", "--factory", app, *options]


def _server_environment(api_url: str, standing: bool) -> dict[str, str]:
    """Return the environment that tells the server what it is, and its page where to ask (else: port 4200)."""
    if standing:
        return {"PREFECT_SERVER_UI_API_URL": api_url, **os.environ}
    temporary = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    idle = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in IDLE_SERVICES}
    return {**os.environ, **temporary, **idle}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])
