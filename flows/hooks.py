"""Hooks that run at the end of a run: a command of the operator's, or an http(s) address that gets a POST.

No text of a run becomes part of a command. It is passed as JSON on standard input (or as the body of the POST),
because the message of a failure may contain text of any file or package. A hook that fails or hangs causes one line of
output, and changes neither the run nor its exit code.

Prefect's automations are not used, because they need a standing server and a block for each kind of notification.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from flows.options import check_text
from flows.prefect_secret import SERVER_VARIABLE, VARIABLE
from ganpress.errors import ConfigError, GanpressError, shown

FAILURE, SUCCESS = "GANPRESS_ON_FAILURE", "GANPRESS_ON_SUCCESS"
"""Environment variables that replace the options; runs that a server or a worker starts read them too."""
LIMIT_S = 30.0
"""Time limit of a hook in seconds; a hook that takes longer is stopped."""
MAX_HOOK = 4096
SCHEMES = ("http", "https")


def check_hook(param: typer.CallbackParam, value: str | None) -> str | None:
    """Refuse a text that is neither a command nor an address."""
    if value is not None:
        name = f"--{(param.name or 'hook').replace('_', '-')}"
        check_text(name, value, MAX_HOOK)
        if _is_address(value):
            try:
                host = urlsplit(value).hostname and (urlsplit(value).port or True)
            except ValueError:
                host = None
            if not host or " " in value:
                raise ConfigError(f"{name} is not an address: write https://host/path, or a command")
    return value


OnFailure = Annotated[
    str | None,
    typer.Option(
        "--on-failure",
        envvar=FAILURE,
        show_envvar=False,
        help="Command or http(s) address that is notified when a run fails.",
        callback=check_hook,
    ),
]
OnSuccess = Annotated[
    str | None,
    typer.Option(
        "--on-success",
        envvar=SUCCESS,
        show_envvar=False,
        help="Command or http(s) address that is notified when a run succeeds.",
        callback=check_hook,
    ),
]


@dataclass(frozen=True)
class Ending:
    """Result of a run."""

    project: Path
    recipe: str | None
    message: str | None = None
    """The failure in one line; None if the run succeeded."""
    flow_run_id: str | None = None

    @property
    def status(self) -> str:
        """`done` or `failed`."""
        return "done" if self.message is None else "failed"

    def content(self) -> dict[str, str | None]:
        """Data that a hook gets."""
        return {
            "status": self.status,
            "message": self.message,
            "project": str(self.project),
            "recipe": self.recipe,
            "flow_run_id": self.flow_run_id,
        }


def tell(hook: str, ending: Ending) -> str | None:
    """Send the result of a run to a hook, within `LIMIT_S`.

    Args:
        hook: a command for the shell, or an http(s) address.
        ending: result of the run, sent as JSON.

    Returns:
        One line about a hook that failed or was stopped; None if it succeeded.
    """
    content = json.dumps(ending.content()).encode()
    try:
        reason = _post(hook, content) if _is_address(hook) else _run(hook, content, ending)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    return None if reason is None else f"--on-{'success' if ending.message is None else 'failure'}: {reason}"


@contextmanager
def telling(project: Path, recipe: str | None, on_failure: str | None, on_success: str | None) -> Iterator[None]:
    """Call the hook when the block ends, and re-raise the block's exception. An interruption calls no hook."""
    try:
        yield
    except typer.Exit:  # interrupted
        raise
    except GanpressError as error:
        _tell_and_say(on_failure, Ending(project, recipe, str(error)))
        raise
    except Exception as error:
        _tell_and_say(on_failure, Ending(project, recipe, f"{type(error).__name__}: {error}"))
        raise
    _tell_and_say(on_success, Ending(project, recipe))


def tell_as_told_by_environment(ending: Ending, environment: Mapping[str, str] = os.environ) -> None:
    """Call the hook of a run that a server or a worker started; the environment of the process names the hooks."""
    _tell_and_say(environment.get(SUCCESS if ending.message is None else FAILURE), ending)


def _tell_and_say(hook: str | None, ending: Ending) -> None:
    trouble = tell(hook, ending) if hook else None
    if trouble is not None:
        typer.echo(f"ganpress: {trouble}; the result of the run is not changed", err=True)


def _is_address(hook: str) -> bool:
    return hook.partition("://")[0].lower() in SCHEMES


def _run(command: str, content: bytes, ending: Ending) -> str | None:
    """Run a command of the operator's with the content as its input; after the time limit, all its processes are
    killed.
    """
    secrets = (VARIABLE, SERVER_VARIABLE)  # These variables belong to Prefect's API; stages do not get them either.
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    process = subprocess.Popen(
        command,
        shell=True,  # The line is the operator's own, with pipes and variables; it contains nothing of the run.
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment | {"GANPRESS_STATUS": ending.status},
        start_new_session=True,
    )
    try:
        _, said = process.communicate(content, LIMIT_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"it took longer than {LIMIT_S:g} s and was stopped"
    if process.returncode == 0:
        return None
    last = (said.decode(errors="replace").strip().splitlines() or [""])[-1]
    return f"it ended with exit code {process.returncode}" + (f" ({shown(last)})" if last else "")


def _post(address: str, content: bytes) -> str | None:
    """POST the content in a thread, because a server that sends a byte now and then would keep the socket open for
    ever.
    """
    import urllib.error
    import urllib.request

    answer: list[str | None] = []

    def post() -> None:
        request = urllib.request.Request(address, content, {"Content-Type": "application/json"}, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S):
                answer.append(None)
        except urllib.error.HTTPError as error:
            answer.append(f"{_host(address)} answered {error.code} {shown(error.reason)}")
        except (OSError, ValueError) as error:
            answer.append(f"{_host(address)} did not answer ({shown(getattr(error, 'reason', error))})")

    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    return answer[0] if answer else f"{_host(address)} did not answer within {LIMIT_S:g} s"


def _host(address: str) -> str:
    """Return only the host, because the rest of an address may be secret."""
    return urlsplit(address).hostname or "the address"
