"""`ganpress status`."""

import typer

from flows.options import Recipe, Settings, StrictVersions


def status(recipe: Recipe = None, set_: Settings = None, strict_versions: StrictVersions = False) -> None:
    """Show every stage, whether it is up to date, and if not, why."""
    from flows.dvc_graph import read_graph
    from flows.environment import export_environment, find_root, reuse_bytecode
    from flows.stage_table import show_graph
    from flows.state_files import heal_and_say
    from flows.worktree import find_workspace

    root = find_root()
    export_environment(root)
    reuse_bytecode(root)
    heal_and_say(root)
    workspace = find_workspace(root, recipe, set_ or ())
    if not workspace.root.is_dir():
        typer.echo(
            "nothing has run with these parameters; `ganpress run` with the same options creates their workspace"
        )
        return
    if workspace.isolated:
        heal_and_say(workspace.root)
        typer.echo(f"workspace: {workspace.root}")
    graph = read_graph(workspace.root, strict_versions)
    show_graph(graph, graph.names())
