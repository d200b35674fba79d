"""Findings of a check, printed as a table or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from flows.checkup import Finding

STYLES = {"ok": "green", "warn": "yellow", "error": "bold red"}


def print_findings(findings: "Sequence[Finding]", as_json: bool = False) -> None:
    """Print a table with the commands that fix errors, if there are any, and how many errors there are.

    Args:
        findings: what was found.
        as_json: print one JSON object instead.

    Raises:
        typer.Exit: with code 2 if there are errors.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flows.console import make_console

    to_fix = sum(one.state == "error" for one in findings)
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(one) for one in findings], "to_fix": to_fix}))
        if to_fix:
            raise typer.Exit(2)
        return
    with_commands = any(one.command for one in findings)
    table = Table("check", "", "finding", *(["command that fixes it"] if with_commands else []), box=box.SIMPLE_HEAD)
    for one in findings:
        texts = (one.words, one.command) if with_commands else (one.words,)
        cells = [Text(text, overflow="fold") for text in texts]
        table.add_row(one.check, Text(one.state, STYLES[one.state]), *cells)
    make_console().print(table)
    if to_fix:
        typer.echo(f"{to_fix} to fix")
        raise typer.Exit(2)
    typer.echo("nothing to fix")
