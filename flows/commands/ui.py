"""`ganpress ui`."""

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

LIVENESS_SECONDS = 1.0


def ui(
    port: Annotated[int, typer.Option(help="Port of MLflow.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect.")] = 4200,
) -> None:
    """Show all generators (MLflow) and all flow runs (Prefect) in the browser, until Ctrl-C."""
    from flows.environment import export_environment, find_root
    from flows.ports import require_free_port
    from ganpress.tracking import check_service, record_pending, tracking_uri

    root = find_root()
    export_environment(root)
    require_free_port(port, "--port")
    require_free_port(prefect_port, "--prefect-port")
    check_service(tracking_uri(root))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        record_pending(root)
        with ExitStack() as servers:
            _serve(root, port, prefect_port, servers)
    except KeyboardInterrupt:
        typer.echo("both servers ended")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave by way of every `with` block, once: a second signal must not interrupt the cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _serve(root: Path, port: int, prefect_port: int, servers: ExitStack) -> None:
    from flows.mlflow_server import mlflow_server, pages
    from flows.prefect_server import local_prefect
    from ganpress.tracking import tracking_uri
    from ganpress.tracking.service import sqlite_path

    uri = tracking_uri(root)
    typer.echo("starting MLflow and Prefect; this takes some seconds")
    prefect = servers.enter_context(local_prefect(prefect_port, standing=True))
    tracking = servers.enter_context(mlflow_server(root, port, uri)) if sqlite_path(uri) else None
    if prefect:
        prefect.wait_until_ready()
    if tracking:
        tracking.wait_until_ready()
    prefect_address = prefect.address if prefect else os.environ["PREFECT_API_URL"].rstrip("/").removesuffix("/api")
    links = pages(tracking.address if tracking else uri.rstrip("/"))
    _print_links({**links, "Flow runs": f"{prefect_address}/runs"})
    while tracking is None or tracking.alive:
        time.sleep(LIVENESS_SECONDS)
    typer.echo("the MLflow server ended by itself; stopping", err=True)
    raise typer.Exit(1)


def _print_links(links: dict[str, str]) -> None:
    width = max(map(len, links))
    typer.echo("")
    for title, link in links.items():
        typer.echo(f"  {title:<{width}}  {link}")
    typer.echo("\nCtrl-C ends both servers.")
