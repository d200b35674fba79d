"""The application that `flows.mlflow_server` starts: MLflow's own server behind the guard.

MLflow finds it among the entry points `mlflow.app` (pyproject.toml), its documented way to serve another application.
Without the guard, MLflow answers pages of every port of this machine, and its assistant starts programs for anyone who
asks.
"""

from flows.guarded_app import App, GuardedApp, guard_from_environment

NAME = "ganpress"
PUBLIC = frozenset({"/health", "/version"})
CLOSED = ("/ajax-api/3.0/mlflow/assistant", "/ajax-api/3.0/jobs")


def create_app() -> App:
    """Return the application for uvicorn."""
    from mlflow.server.fastapi_app import app

    return GuardedApp(app, guard_from_environment(), PUBLIC, CLOSED)
