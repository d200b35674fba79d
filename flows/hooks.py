"""Hooks: who is told when a run ends, which is a command of the operator's or an http(s) address that gets a POST.

Nothing of a run becomes part of a command: its text is JSON on standard input (or the body of the POST), because the
message of a failure may hold whatever a file or a stranger's package wrote. A hook that fails or hangs is one line, and
changes neither the run nor its exit code.

By hand: Prefect's automations need a server that stands, and a block for each way to tell somebody.
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
"""Variables in place of the options; runs that a server or a worker starts read them, too."""
LIMIT_S = 30.0
"""A hook that takes longer is stopped."""
MAX_HOOK = 4096
SCHEMES = ("http", "https")


def check_hook(param: typer.CallbackParam, value: str | None) -> str | None:
    """Refuse what can be neither a command nor an address."""
    if value is not None:
        name = f"--{(param.name or 'hook').replace('_', '-')}"
        check_text(name, value, MAX_HOOK)
        if _is_address(value):
            try:
                host = urlsplit(value).hostname and (urlsplit(value).port or True)
            except ValueError:
                host = None
            if not host or " " in value:
                raise ConfigError(f"{name} is no address: write https://host/path, or a command")
    return value


OnFailure = Annotated[
    str | None,
    typer.Option(
        "--on-failure",
        envvar=FAILURE,
        show_envvar=False,
        help="Command, or http(s) address, that is told of a run that failed.",
        callback=check_hook,
    ),
]
OnSuccess = Annotated[
    str | None,
    typer.Option(
        "--on-success",
        envvar=SUCCESS,
        show_envvar=False,
        help="Command, or http(s) address, that is told of a run that ended well.",
        callback=check_hook,
    ),
]


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    project: Path
    recipe: str | None
    message: str | None = None
    """What failed, in one line; None where the run ended well."""
    flow_run_id: str | None = None

    @property
    def status(self) -> str:
        """`done` or `failed`."""
        return "done" if self.message is None else "failed"

    def content(self) -> dict[str, str | None]:
        """What a hook is told."""
        return {
            "status": self.status,
            "message": self.message,
            "project": str(self.project),
            "recipe": self.recipe,
            "flow_run_id": self.flow_run_id,
        }


def tell(hook: str, ending: Ending) -> str | None:
    """Tell a hook how a run ended, within `LIMIT_S`.

    Args:
        hook: a command for the shell, or an http(s) address.
        ending: what it is told, as JSON.

    Returns:
        One line about a hook that failed or was stopped; None where it went well.
    """
    content = json.dumps(ending.content()).encode()
    try:
        reason = _post(hook, content) if _is_address(hook) else _run(hook, content, ending)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    return None if reason is None else f"--on-{'success' if ending.message is None else 'failure'}: {reason}"


@contextmanager
def telling(project: Path, recipe: str | None, on_failure: str | None, on_success: str | None) -> Iterator[None]:
    """Tell the hook how the block ended, and raise again what the block raised. Nobody is told of an interruption."""
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
    """Tell the hook of a run that a server or a worker started; variables of its process name the hooks."""
    _tell_and_say(environment.get(SUCCESS if ending.message is None else FAILURE), ending)


def _tell_and_say(hook: str | None, ending: Ending) -> None:
    trouble = tell(hook, ending) if hook else None
    if trouble is not None:
        typer.echo(f"ganpress: {trouble}; the run stays as it is", err=True)


def _is_address(hook: str) -> bool:
    return hook.partition("://")[0].lower() in SCHEMES


def _run(command: str, content: bytes, ending: Ending) -> str | None:
    """Run a command of the operator's with the content as its input; past its time, all that it started is ended."""
    secrets = (VARIABLE, SERVER_VARIABLE)  # of Prefect's API; stages do not get them either
    environment = {name: value for name, value in os.environ.items() if name not in secrets}
    process = subprocess.Popen(
        command,
        shell=True,  # it is the operator's own line, with pipes and variables; nothing of the run is in it
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
    """POST the content in a thread, because a server that sends a byte now and then would hold a socket for ever."""
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
    """Return the host alone, because the rest of an address may be a secret."""
    return urlsplit(address).hostname or "the address"
