"""`ganpress remote init` and `ganpress remote check`."""

from typing import Annotated

import typer

from flows.options import AsJson, one_line

remote = typer.Typer(name="remote", help="What a team shares: results, runs, checkpoints.", no_args_is_help=True)
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
    """Write where the team's stores are into .dvc/config and team.yaml, which belong in git."""
    from flows.environment import find_root, main_root
    from flows.team_setup import set_up

    written = set_up(main_root(find_root()), url, name, endpoint, mlflow, checkpoints)
    typer.echo(f"wrote {', '.join(written)}; share them: git add {' '.join(written)} && git commit -m team && git push")
    typer.echo("then see what else must be set up: ganpress remote check")


@remote.command()
def check(as_json: AsJson = False) -> None:
    """Check whether a colleague's clone finds everything, and say what to fix; exit code 2 if anything must be."""
    from flows.commands.findings import print_findings
    from flows.environment import export_environment, find_root
    from flows.team_check import check_team

    root = find_root()
    export_environment(root)
    print_findings(check_team(root), as_json)
