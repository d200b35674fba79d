"""Finds the tracking store and checks that it answers, without importing MLflow."""

import base64
import os
import urllib.error
import urllib.request
from pathlib import Path

from ganpress.basics.folders import fault_of_folder
from ganpress.errors import ServiceUnavailable

ANSWER_SECONDS = 5.0


def tracking_uri(root: Path) -> str:
    """Return the address of the MLflow store: MLFLOW_TRACKING_URI, else the SQLite file `<root>/mlflow/tracking.db`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve()}/mlflow/tracking.db"


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a `sqlite:///…` address; None for any other address."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def login_headers() -> dict[str, str]:
    """Return the header with which MLflow's own clients log in; empty if the environment has no login."""
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if not user:
        return {}
    login = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def check_service(uri: str) -> None:
    """Make sure that the store can be used, within seconds.

    Raises:
        ServiceUnavailable: if a server does not answer, or the store's folder cannot be written.
    """
    database = sqlite_path(uri)
    if database is not None:
        if fault := fault_of_folder(database.parent):
            raise ServiceUnavailable(f"the MLflow store {database.parent} {fault}")
    elif uri.startswith(("http://", "https://")):
        _check_server(uri)


def _check_server(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_SECONDS):
            return
    except urllib.error.HTTPError as error:
        reason = f"answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        reason = f"does not answer ({getattr(error, 'reason', error)})"
    advice = "start it (`ganpress ui`), or unset MLFLOW_TRACKING_URI to track into mlflow/tracking.db"
    raise ServiceUnavailable(f"the MLflow server {uri} {reason}; {advice}")
