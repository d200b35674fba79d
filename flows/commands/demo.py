"""`ganpress demo`."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.ui import Host
from flows.options import Recipe, Settings, between, one_line
from ganpress.basics.request_guard import LOOPBACK, authority, check_host, configured_login

REFERENCE = one_line()
PORT = between(0, 65_535)


def demo(
    original: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Original generator: an export or an .onnx file; default: the teacher.",
            callback=REFERENCE,
        ),
    ] = None,
    compressed: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Compressed generator: an export or an .onnx file; default: the file to ship.",
            callback=REFERENCE,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 chooses a free port.", callback=PORT)] = 8000,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the site to this folder, for any web server, and stop.")
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Local copy of onnxruntime-web 1.30.0, a tarball or a folder; default: it is fetched from npm once.",
        ),
    ] = None,
    host: Host = LOOPBACK,
    recipe: Recipe = None,
    set_: Settings = None,
) -> None:
    """Run an exported generator beside its compressed version in the browser, until Ctrl-C."""
    from flows.environment import find_root, main_root
    from flows.ports import require_free_port
    from flows.worktree import find_workspace
    from ganpress.demo.generators import choose_pair, common_surface
    from ganpress.demo.page_runtime import find_runtime
    from ganpress.demo.site import build_site
    from ganpress.metrics.evaluated import shipped_of

    check_host(host, configured_login(os.environ))
    root = find_root()
    workspace = find_workspace(root, recipe, set_ or ()).root if recipe or set_ else root
    artifacts = workspace / "artifacts"
    if out is None:
        require_free_port(port, "--port", host)
    ship = shipped_of(workspace)
    first, second = choose_pair(artifacts, original, compressed, None if ship is None else ship.reference)
    sentence = "" if ship is None else f"To ship: {ship.sentence}."
    common_surface(first, second)  # This is checked before anything is fetched.
    found = find_runtime(main_root(root) / ".ganpress" / "browser", runtime)
    if out is not None:
        site = build_site(first, second, found, artifacts / "prepare", out.resolve(), sentence)
        title = f"{second.reference} beside {first.reference}"
        if sentence:
            typer.echo(sentence)
        typer.echo(f"{site.folder} holds {title}, {site.size_bytes / 1e6:,.1f} MB, for any web server (docs/demo.md)")
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="ganpress-demo-") as folder:
            site = build_site(first, second, found, artifacts / "prepare", Path(folder) / "site", sentence)
            if sentence:
                typer.echo(sentence)
            _serve(site.folder, host, port, f"{second.reference} beside {first.reference}")
    except KeyboardInterrupt:
        typer.echo("the demo server stopped")


def _serve(folder: Path, host: str, port: int, title: str) -> None:
    from ganpress.demo.server import open_server

    with open_server(folder, port, host, configured_login(os.environ)) as server:
        typer.echo(f"{title}:  http://{authority(host, server.server_port)}/")
        typer.echo("Press Ctrl-C to stop the server.")
        server.serve_forever()
