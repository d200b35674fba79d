"""`ganpress status`."""

import json

import typer

from flows.options import AsJson, Recipe, Settings, StrictVersions


def status(
    recipe: Recipe = None, set_: Settings = None, strict_versions: StrictVersions = False, as_json: AsJson = False
) -> None:
    """Show every stage, whether it is up to date, and if not, why."""
    from flows.dvc_graph import read_graph
    from flows.environment import export_environment, find_root, reuse_bytecode
    from flows.stage_table import WORDS, show_graph
    from flows.state_files import heal_and_say
    from flows.worktree import find_workspace

    root = find_root()
    export_environment(root)
    reuse_bytecode(root)
    heal_and_say(root)
    workspace = find_workspace(root, recipe, set_ or ())
    if not workspace.root.is_dir():
        if as_json:
            typer.echo(json.dumps({"workspace": None, "stages": {}}))
            return
        typer.echo(
            "nothing has run with these parameters; `ganpress run` with the same options creates their workspace"
        )
        return
    if workspace.isolated:
        heal_and_say(workspace.root)
    graph = read_graph(workspace.root, strict_versions)
    if as_json:
        stages = {name: {"state": WORDS[graph[name].need], "why": graph[name].why} for name in graph.names()}
        typer.echo(json.dumps({"workspace": str(workspace.root), "stages": stages}))
        return
    if workspace.isolated:
        typer.echo(f"workspace: {workspace.root}")
    show_graph(graph, graph.names())
