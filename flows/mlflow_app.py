"""MLflow's server as `flows.mlflow_server` starts it: MLflow's own application behind the guard.

MLflow finds it by its name among the entry points `mlflow.app` (pyproject.toml), its own way of serving another one. By
itself it answers pages of every port of this machine, and its assistant starts programs for whoever asks.
"""

from flows.guarded_app import App, GuardedApp, guard_from_environment

NAME = "ganpress"
PUBLIC = frozenset({"/health", "/version"})
CLOSED = ("/ajax-api/3.0/mlflow/assistant", "/ajax-api/3.0/jobs")


def create_app() -> App:
    """Return the application for uvicorn."""
    from mlflow.server.fastapi_app import app

    return GuardedApp(app, guard_from_environment(), PUBLIC, CLOSED)
