"""`ganpress doctor`."""

from typing import Annotated

import typer

from flows.options import AsJson


def doctor(
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Move damaged state files aside."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check versions, git, DVC, stores and ports, and say what to fix; exit code 2 if something must be fixed."""
    from flows.checkup import check_everything
    from flows.commands.findings import print_findings
    from flows.environment import export_environment, find_root
    from flows.state_files import find_damage

    root = find_root()
    export_environment(root)
    if fix:
        for damage in find_damage(root):
            damage.repair()
            typer.echo(f"{damage.path} was damaged ({damage.words}): {damage.remedy}", err=as_json)
    print_findings(check_everything(root), as_json)
