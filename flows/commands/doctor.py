"""`ganpress doctor`."""

from typing import Annotated

import typer

STYLES = {"ok": "green", "warn": "yellow", "error": "bold red"}


def doctor(
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Move damaged state files aside."),
    ] = False,
) -> None:
    """Check versions, git, DVC, stores and ports, and say what to fix; exit code 2 if something must be fixed."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flows.checkup import check_everything
    from flows.console import make_console
    from flows.environment import export_environment, find_root
    from flows.state_files import find_damage

    root = find_root()
    export_environment(root)
    if fix:
        for damage in find_damage(root):
            damage.repair()
            typer.echo(f"{damage.path} was damaged ({damage.words}): {damage.remedy}")
    table = Table("check", "", "finding", box=box.SIMPLE_HEAD)
    findings = check_everything(root)
    for finding in findings:
        table.add_row(finding.check, Text(finding.state, STYLES[finding.state]), Text(finding.words, overflow="fold"))
    make_console().print(table)
    to_fix = sum(finding.state == "error" for finding in findings)
    if to_fix:
        typer.echo(f"{to_fix} to fix")
        raise typer.Exit(2)
    typer.echo("nothing to fix")
