"""Prints the table of stages of `ganpress status` and `ganpress run --dry-run`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.dvc_graph import StageGraph

WORDS = {"clean": "up to date", "restore": "to restore", "run": "to run"}
STYLES = {"clean": "green", "restore": "cyan", "run": "yellow"}


def show_graph(graph: "StageGraph", chosen: tuple[str, ...], force: bool = False) -> None:
    """Print a table of the chosen stages with their states and reasons."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flows.console import make_console

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("stage", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("why", overflow="fold")
    needs = []
    for name in chosen:
        stage = graph[name]
        need = "run" if force else stage.need
        needs.append(need)
        why = "; ".join(filter(None, ["--force" if force else "", stage.why]))
        table.add_row(name, Text(WORDS[need], STYLES[need]), Text(why))
    console = make_console()
    console.print(table)
    counts = ", ".join(f"{needs.count(need)} {words}" for need, words in WORDS.items() if need in needs)
    console.print(Text(f"{len(chosen)} stages: {counts}"))
