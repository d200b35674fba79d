"""The application that `flows.mlflow_server` starts: MLflow's own server behind the guard.

MLflow finds it among the entry points `mlflow.app` (pyproject.toml), its documented way to serve another application.
Without the guard, MLflow answers pages of every port of this machine, and its assistant starts programs for anyone who
asks.
"""

from pathlib import Path

from flows.guarded_app import App, GuardedApp, Receive, Scope, Send, answer, guard_from_environment

NAME = "ganpress"
PUBLIC = frozenset({"/health", "/version"})
CLOSED = ("/ajax-api/3.0/mlflow/assistant", "/ajax-api/3.0/jobs")
FIRST_VISIT = b"""<script>
localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
if (location.hash.length < 3) location.replace('#/experiments?workflowType=machine_learning');
</script>"""
"""Run before MLflow's own scripts: its assistant, which is switched off, does not open by itself and cover the table,
and the bare address opens in the mode for models instead of that for chat applications."""


def create_app() -> App:
    """Return the application for uvicorn."""
    from mlflow.server import REL_STATIC_DIR, fastapi_app

    page = Path(fastapi_app.__file__).parent / REL_STATIC_DIR / "index.html"

    async def with_first_visit(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/") and page.is_file():
            content = page.read_bytes().replace(b"<head>", b"<head>" + FIRST_VISIT, 1)
            await answer(send, 200, "text/html; charset=utf-8", content)
        else:
            await fastapi_app.app(scope, receive, send)

    return GuardedApp(with_first_visit, guard_from_environment(), PUBLIC, CLOSED)
