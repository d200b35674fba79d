"""`ganpress remote init` and `ganpress remote check`."""

from typing import Annotated

import typer

from flows.options import one_line

remote = typer.Typer(name="remote", help="What a team shares: results, runs, checkpoints.", no_args_is_help=True)
STYLES = {"ok": "green", "missing": "bold red"}
MAX_NAME = 64


@remote.command()
def init(
    url: Annotated[
        str | None,
        typer.Argument(help="DVC's remote: s3://…, gs://…, ssh://… or a folder.", metavar="URL", callback=one_line()),
    ] = None,
    name: Annotated[str, typer.Option(help="What DVC calls it.", callback=one_line(MAX_NAME))] = "team",
    endpoint: Annotated[
        str | None, typer.Option(help="Address of an S3-compatible server.", metavar="URL", callback=one_line())
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="Address of the MLflow server.", metavar="URL", callback=one_line())
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(help="Folder of the network for half-done trainings.", metavar="DIR", callback=one_line()),
    ] = None,
) -> None:
    """Say where the team's stores are, in .dvc/config and team.yaml, which belong into git."""
    from flows.environment import find_root, main_root
    from flows.team_setup import set_up

    written = set_up(main_root(find_root()), url, name, endpoint, mlflow, checkpoints)
    typer.echo(
        f"written: {', '.join(written)}; share it: git add {' '.join(written)} && git commit -m team && git push"
    )
    typer.echo("what is missing still: ganpress remote check")


@remote.command()
def check() -> None:
    """Say in one table whether a colleague's clone would find everything; exit code 2 if something is missing."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flows.console import make_console
    from flows.environment import export_environment, find_root
    from flows.team_check import check_team

    root = find_root()
    export_environment(root)
    lines = check_team(root)
    table = Table("what", "state", "", "command that mends it", box=box.SIMPLE_HEAD)
    for line in lines:
        words = [Text(text, overflow="fold") for text in (line.words, line.command)]
        table.add_row(line.what, Text(line.state, STYLES[line.state]), *words)
    make_console().print(table)
    missing = sum(line.state == "missing" for line in lines)
    if missing:
        typer.echo(f"{missing} missing")
        raise typer.Exit(2)
    typer.echo("nothing is missing")
