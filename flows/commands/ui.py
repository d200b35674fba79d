"""`ganpress ui`."""

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flows.options import between
from ganpress.basics.request_guard import LOOPBACK, check_host, configured_login

if TYPE_CHECKING:
    from flows.mlflow_pages import Page

LIVENESS_SECONDS = 1.0
Host = Annotated[
    str, typer.Option(help="Address to listen on; any address other than this machine's own needs GANPRESS_LOGIN.")
]


def ui(
    port: Annotated[int, typer.Option(help="Port of MLflow.", callback=between(0, 65_535))] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect.", callback=between(0, 65_535))] = 4200,
    budget: Annotated[
        str | None, typer.Option(help="Largest file on the first page, e.g. 100kB; default: evaluate.max_bytes.")
    ] = None,
    host: Host = LOOPBACK,
) -> None:
    """Serve all generators (MLflow) and all flow runs (Prefect) to the browser, until Ctrl-C."""
    from flows.environment import export_environment, find_root
    from flows.ports import require_free_port
    from ganpress.tracking import check_service, record_pending, tracking_uri

    check_host(host, configured_login(os.environ))
    root = find_root()
    export_environment(root)
    _max_bytes(root, budget)
    require_free_port(port, "--port", host)
    require_free_port(prefect_port, "--prefect-port", host)
    check_service(tracking_uri(root))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        record_pending(root)
        with ExitStack() as servers:
            _serve(root, (port, prefect_port), host, budget, servers)
    except KeyboardInterrupt:
        typer.echo("both servers stopped")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Exit through every `with` block, once: a second signal must not interrupt the clean-up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _serve(root: Path, ports: tuple[int, int], host: str, budget: str | None, servers: ExitStack) -> None:
    """Start MLflow and Prefect at `ports`, print the links, and wait."""
    from flows.mlflow_pages import Page, pages
    from flows.mlflow_server import mlflow_server
    from flows.prefect_server import local_prefect
    from ganpress.tracking import tracking_uri
    from ganpress.tracking.service import sqlite_path

    uri = tracking_uri(root)
    typer.echo("starting MLflow and Prefect; this takes some seconds")
    prefect = servers.enter_context(local_prefect(ports[1], standing=True, host=host))
    tracking = servers.enter_context(mlflow_server(root, ports[0], uri, host)) if sqlite_path(uri) else None
    if prefect:
        prefect.wait_until_ready()
    if tracking:
        tracking.wait_until_ready()
    named = os.environ["PREFECT_API_URL"].rstrip("/").removesuffix("/api")
    links = pages(tracking.address if tracking else uri.rstrip("/"), _max_bytes(root, budget))
    _print_links([*links, Page("flow runs (Prefect)", prefect.link("runs") if prefect else f"{named}/runs")])
    if prefect:
        typer.echo(prefect.instruction)
    typer.echo("\nPress Ctrl-C to stop both servers.")
    while tracking is None or tracking.alive:
        time.sleep(LIVENESS_SECONDS)
    typer.echo("the MLflow server stopped unexpectedly; stopping", err=True)
    raise typer.Exit(1)


def _max_bytes(root: Path, budget: str | None) -> int | None:
    from flows.commands.compare import parse_bytes
    from ganpress.metrics.evaluated import byte_budget

    return byte_budget(root) if budget is None else parse_bytes(budget)


def _print_links(links: "list[Page]") -> None:
    width = max(len(page.title) for page in links)
    typer.echo("")
    for page in links:
        typer.echo(f"  {page.title:<{width}}  {page.link}")
    typer.echo("")
