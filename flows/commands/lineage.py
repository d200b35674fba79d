"""`ganpress lineage`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import AsJson, one_line

if TYPE_CHECKING:
    from flows.file_lineage import Answer

SHOWN = 8
"""Number of digits of a digest in the table."""


def lineage(
    file: Annotated[
        str, typer.Argument(help="A file or folder, in the project or anywhere else.", callback=one_line())
    ],
    as_json: AsJson = False,
) -> None:
    """Show what a file was made from, back to the data. The file is looked up by its digest in dvc.lock, its card and
    MLflow's store.
    """
    from flows.environment import export_environment, find_root, main_root
    from flows.file_lineage import lineage_of

    root = find_root()
    export_environment(main_root(root))
    answer = lineage_of(root, Path(file).expanduser().resolve())
    if as_json:
        typer.echo(json.dumps(asdict(answer)))
    else:
        _show(answer)


def _show(answer: "Answer") -> None:
    """Print the file, a table of the stages it came through, and any inconsistencies."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flows.console import make_console

    console = make_console()
    console.print(Text(f"{answer.file}\nmd5 {answer.md5}, as {answer.found_in} records of {answer.path}"))
    table = Table("stage", "made", "md5", "from", box=box.SIMPLE_HEAD)
    for step in answer.steps:
        table.add_row(
            *(Text(one) for one in (step.stage or "", step.made, step.md5[:SHOWN], ", ".join(step.made_from)))
        )
    console.print(table)
    for note in answer.notes:
        console.print(Text(note))
