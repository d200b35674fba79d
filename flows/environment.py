"""Environment variables of every process of a run: absolute stores, no telemetry, threads, lineage."""

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from flows.ports import answers
from flows.prefect_secret import SERVER_VARIABLE, VARIABLE, offer_secret
from flows.team_file import team_environment
from ganpress.basics.git import git_state
from ganpress.basics.request_guard import LOGIN_VARIABLE, basic
from ganpress.basics.telemetry import SWITCHED_OFF
from ganpress.errors import ConfigError, ServiceUnavailable

WORKTREES = Path(".ganpress") / "worktrees"
SERVICE_TIMEOUT_S = 3.0
SERVICE_ATTEMPTS = 2
SECRETS = frozenset({VARIABLE, SERVER_VARIABLE, LOGIN_VARIABLE})
"""Variables that no stage needs and that are removed."""


def find_root(start: Path | None = None) -> Path:
    """Return the project's root: the nearest folder at or above `start` (default: here) that holds dvc.yaml.

    Raises:
        ConfigError: if there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise ConfigError(f"no dvc.yaml in {here} or above; change to the project's folder and run again")


def main_root(root: Path) -> Path:
    """Return the main checkout of `root`: itself, or the owner if `root` is the worktree of a run."""
    in_worktrees = root.parent.name == WORKTREES.name and root.parent.parent.name == WORKTREES.parent.name
    return root.parents[2] if in_worktrees else root


def environment(root: Path) -> dict[str, str]:
    """Return the defaults for every process of a run (`root`: the main checkout; all paths are absolute)."""
    return {
        **SWITCHED_OFF,
        "PREFECT_HOME": str(root / ".prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "MLFLOW_TRACKING_URI": f"sqlite:///{root / 'mlflow' / 'tracking.db'}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "GANPRESS_CHECKPOINTS": str(root / ".ganpress" / "checkpoints"),
        "GANPRESS_TOOLS": str(root / ".ganpress" / "tools"),
        **team_environment(root),
    }


def export_environment(root: Path) -> None:
    """Set the defaults in this process's environment before prefect or mlflow is imported; the user's values take
    precedence.
    """
    for name, value in environment(main_root(root)).items():
        os.environ.setdefault(name, value)
    offer_secret(os.environ)
    # `python -m tasks.<stage>` in dvc.yaml must start this interpreter, even if its environment was never activated.
    interpreter = str(Path(sys.executable).parent)
    paths = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if paths[0] != interpreter:
        os.environ["PATH"] = os.pathsep.join([interpreter, *paths])


def reuse_bytecode(root: Path) -> None:
    """Write compiled Python below .ganpress/ where PYTHONDONTWRITEBYTECODE, common in containers, disables it.

    A run starts dozens of interpreters; compiling torch, DVC and Prefect anew in each doubles their start. Nothing is
    written to the checkout or to the installed packages, so the purpose of that variable is kept.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE") or os.environ.get("PYTHONPYCACHEPREFIX"):
        return
    folder = str(main_root(root) / ".ganpress" / "pycache")
    del os.environ["PYTHONDONTWRITEBYTECODE"]
    os.environ["PYTHONPYCACHEPREFIX"] = folder
    sys.pycache_prefix, sys.dont_write_bytecode = folder, False


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stage_environment(root: Path, jobs: int, flow_run_id: str | None, recipe: str | None) -> dict[str, str]:
    """Return the environment of one stage's process.

    Args:
        root: the main checkout, whose commit is recorded.
        jobs: stages that run side by side; each gets its share of the cores.
        flow_run_id: Prefect's id of the flow run, for lineage.
        recipe: the recipe of the run, for lineage.
    """
    threads = str(max(1, cores() // jobs))
    git = git_state(root)
    values = {
        **os.environ,
        "GANPRESS_THREADS": os.environ.get("GANPRESS_THREADS", threads),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
        "PYTHONUNBUFFERED": "1",
        "GANPRESS_FLOW_RUN_ID": flow_run_id or "",
        "GANPRESS_RECIPE": recipe or "",
        "GANPRESS_GIT_SHA": git.sha or "",
        "GANPRESS_GIT_DIRTY": str(git.dirty).lower(),
    }
    # A stage uses DVC and MLflow only, and must not act as part of an enclosing Prefect run.
    return {
        name: value
        for name, value in values.items()
        if value and not name.startswith("PREFECT__") and name not in SECRETS
    }


def check_services(root: Path) -> None:
    """Check that the stores of a run can be used; local stores need no server.

    Raises:
        ServiceUnavailable: if one of them cannot.
    """
    from ganpress.tracking import check_service, tracking_uri

    check_service(tracking_uri(root))
    prefect = os.environ.get("PREFECT_API_URL", "")
    if prefect.startswith(("http://", "https://")):
        _check_answers(f"{prefect.rstrip('/')}/health", "PREFECT_API_URL", prefect)
        _check_lets_in(prefect)


def _check_answers(url: str, variable: str, address: str) -> None:
    for attempt in range(1, SERVICE_ATTEMPTS + 1):
        reason = _refusal(url)
        if reason is None:
            return
        if attempt < SERVICE_ATTEMPTS:
            time.sleep(0.5)
    raise ServiceUnavailable(
        f"{variable}={address} does not answer ({reason}); start the server (`prefect server start`), correct "
        f"the address, "
        f"or unset {variable} to work without a standing server"
    )


def _check_lets_in(address: str) -> None:
    """Call an endpoint of a Prefect server that needs its secret, because its health endpoint is open; Prefect's
    client reports other errors.
    """
    if os.environ.get("PREFECT_API_KEY") or not answers(f"{address.rstrip('/')}/health"):
        return
    secret = os.environ.get(VARIABLE)
    request = urllib.request.Request(
        f"{address.rstrip('/')}/admin/version", headers={"Authorization": basic(secret)} if secret else {}
    )
    try:
        urllib.request.urlopen(request, timeout=SERVICE_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            return
        given = "refuses the secret in" if secret else "asks for a secret, and there is none in"
        raise ServiceUnavailable(
            f"PREFECT_API_URL={address} {given} {VARIABLE}; export it as the command that started the server printed "
            "(docs/operations.md), or unset PREFECT_API_URL to work without a standing server"
        ) from None
    except (OSError, ValueError):
        return


def _refusal(url: str) -> str | None:
    """Return why `url` does not answer, or None if it does. A refusal such as 401 counts as an answer; 5xx does not."""
    try:
        with urllib.request.urlopen(url, timeout=SERVICE_TIMEOUT_S):
            return None
    except urllib.error.HTTPError as error:
        return None if error.code < 500 else f"HTTP {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
