"""`ganpress status`."""

from typing import TYPE_CHECKING

import typer

from flows.commands.run import Recipe, Settings, StrictVersions

if TYPE_CHECKING:
    from flows.dvc_graph import StageGraph

WORDS = {"clean": "up to date", "restore": "to restore", "run": "to run"}
STYLES = {"clean": "green", "restore": "cyan", "run": "yellow"}


def status(recipe: Recipe = None, set_: Settings = None, strict_versions: StrictVersions = False) -> None:
    """Show every stage, whether it is up to date, and why not."""
    from flows.dvc_graph import read_graph
    from flows.environment import export_environment, find_root, reuse_bytecode
    from flows.state_files import heal_and_say
    from flows.worktree import find_workspace

    root = find_root()
    export_environment(root)
    reuse_bytecode(root)
    heal_and_say(root)
    workspace = find_workspace(root, recipe, set_ or ())
    if not workspace.root.is_dir():
        typer.echo("never run with these parameters; `ganpress run` with the same options makes their workspace")
        return
    if workspace.isolated:
        heal_and_say(workspace.root)
        typer.echo(f"workspace: {workspace.root}")
    graph = read_graph(workspace.root, strict_versions)
    show_graph(graph, graph.names())


def show_graph(graph: "StageGraph", chosen: tuple[str, ...], force: bool = False) -> None:
    """Print a table of the chosen stages: state and why."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from flows.console import make_console

    table = Table("stage", "state", "why", box=box.SIMPLE_HEAD)
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
