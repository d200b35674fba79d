"""The Prefect API of a flow: the server that PREFECT_API_URL names, or our own server for this process.

Prefect can start a temporary server itself, but leaves it orphaned when the flow gets SIGTERM or kill -9. Ours runs
under a supervisor, and starts while this process still imports Prefect and reads the graph.
"""

import logging
import os
import secrets
import shlex
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from flows.guarded_app import guard_variables
from flows.ports import HOST, answers, require_free_port
from flows.prefect_app import DOOR, TICKET_VARIABLE
from flows.prefect_secret import NAME, SERVER_VARIABLE, VARIABLE, secret_of
from flows.stage_process import Command, SupervisedProcess
from ganpress.basics.request_guard import authority, check_host, configured_login, is_loopback
from ganpress.errors import ServiceUnavailable
from ganpress.files.sqlite_files import mark_made, remove_half_made

POLL_S = 0.05
SEND_TIMEOUT_S = 5.0


# A server for one run needs no schedules, automations or work pools, which would poll all the time.
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

    def __init__(self, port: int, standing: bool, host: str = HOST) -> None:
        """Start the server, which answers a few seconds later.

        Args:
            port: a free port of this machine.
            standing: start the user interface and the services that a schedule needs, not only the API.
            host: address that it listens on.

        Raises:
            ConfigError: if other machines can reach `host` and no login is set.
            ServiceUnavailable: if the secret of the API cannot be kept.
        """
        check_host(host, configured_login(os.environ))
        self.address = f"http://{authority(host, port)}"
        self.api_url = f"{self.address}/api"
        self._last_lines: deque[str] = deque(maxlen=20)
        home = Path(os.environ["PREFECT_HOME"])
        self.secret = secret_of(home)
        """Secret that its clients must send; it never appears in a command line, a log or printed output."""
        self._secret_file, self._ticket = home / NAME, secrets.token_urlsafe(32)
        # The page sends requests to the address it was opened at; for loopback the login page redirects to one name.
        page_asks = self.api_url if is_loopback(host) else "/api"
        variables = {
            SERVER_VARIABLE: self.secret,
            TICKET_VARIABLE: self._ticket,
            # Prefect's default would allow pages of all origins (`*`).
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": self.address,
            **guard_variables(host, port),
        }
        # Two servers that create the database's tables at the same time would both fail.
        self._starting = FileLock(home / "server-start.lock")
        self._starting.acquire()
        remove_half_made(home / "prefect.db", "flow_run")
        self._database = home / "prefect.db"
        environment = _server_environment(page_asks, standing) | variables
        self._process = SupervisedProcess(
            Command(_server_command(host, port), home, environment, self._last_lines.append)
        )

    def link(self, page: str) -> str:
        """Return the link that opens a page in the first browser that follows it, and later in the same browser."""
        return f"{self.address}/{page}?{DOOR.decode()}#{self._ticket}"

    @property
    def instruction(self) -> str:
        """Return how `prefect` finds the server from another shell."""
        export = f'export PREFECT_API_URL={self.api_url} {VARIABLE}="$(cat {shlex.quote(str(self._secret_file))})"'
        return f"`prefect` in another shell: {export}"

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            ServiceUnavailable: if it ends or does not answer.
        """
        limit_s = float(os.environ.get("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120"))
        deadline = time.monotonic() + limit_s
        try:
            while not answers(f"{self.api_url}/health"):
                if not self._process.alive:
                    raise ServiceUnavailable(f"the local Prefect server stopped immediately: {self._last_words()}")
                if time.monotonic() > deadline:
                    raise ServiceUnavailable(f"the local Prefect server did not answer within {limit_s:.0f} s")
                time.sleep(POLL_S)
            mark_made(self._database)
        finally:
            self._starting.release()

    def _last_words(self) -> str:
        return next((line for line in reversed(self._last_lines) if line.strip()), "no output")

    def stop(self) -> None:
        """Stop the server and everything that it started."""
        self._starting.release()
        self._process.stop()


@contextmanager
def local_prefect(port: int | None = None, standing: bool = False, host: str = HOST) -> Iterator[PrefectServer | None]:
    """Start a server unless PREFECT_API_URL names one, and point Prefect at it; stop it after the block.

    Enter this block before `prefect` is imported, because Prefect reads its environment once.

    Raises:
        ServiceUnavailable: if `port` is in use, or the secret of the API cannot be kept.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield None
        return
    server = PrefectServer(_free_port() if port is None else require_free_port(port, "--port", host), standing, host)
    before = os.environ.get(VARIABLE)
    os.environ.update({"PREFECT_API_URL": server.api_url, VARIABLE: server.secret})
    try:
        yield server
        _send_what_is_left()
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
        server.stop()


def _send_what_is_left() -> None:
    """Make Prefect send its queued logs and states; after the server has stopped it would retry for a minute at
    exit.
    """
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker

    for handler in logging.getLogger("prefect.flow_runs").handlers:
        handler.flush()
    EventsWorker.drain_all(timeout=SEND_TIMEOUT_S)


def _server_command(host: str, port: int) -> list[str]:
    app = ["--app-dir", str(Path(__file__).resolve().parents[1]), "flows.prefect_app:create_app"]
    options = ["--host", host, "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    return [sys.executable, "-P", "-m", "uvicorn", "--factory", *app, *options]


def _server_environment(page_asks: str, standing: bool) -> dict[str, str]:
    """Return the environment that tells the server its own address, and its page where to send requests (default: port
    4200).
    """
    if standing:
        return {"PREFECT_SERVER_UI_API_URL": page_asks, **os.environ}
    temporary = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    idle = {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in IDLE_SERVICES}
    return {**os.environ, **temporary, **idle}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])
