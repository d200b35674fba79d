"""`ganpress doctor`."""

from typing import Annotated

import typer

STYLES = {"ok": "green", "warn": "yellow", "mend": "bold red"}


def doctor(
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Put damaged state files aside."),
    ] = False,
) -> None:
    """Check versions, git, DVC, stores and ports, and say what to do; exit code 2 if something must be done."""
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
    to_mend = sum(finding.state == "mend" for finding in findings)
    if to_mend:
        typer.echo(f"{to_mend} to mend")
        raise typer.Exit(2)
    typer.echo("nothing must be done")
