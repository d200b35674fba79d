"""`ganpress run`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flows.worktree import Workspace

Recipe = Annotated[
    str | None, typer.Option("--recipe", "-r", help="Name of a file in recipes/, or a path; lies over params.yaml.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value (YAML) over params.yaml; repeatable.")
]


def run(
    stage: Annotated[
        list[str] | None, typer.Option("--stage", "-s", help="Only this stage and nothing upstream; repeatable.")
    ] = None,
    from_stage: Annotated[str | None, typer.Option("--from", help="This stage and everything downstream.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Run the chosen stages even if clean.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would run, and why.")] = False,
    recipe: Recipe = None,
    set_: Settings = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Stages side by side; default: cores.")] = None,
    stage_timeout_s: Annotated[float | None, typer.Option(help="Seconds after which a stage is stopped.")] = None,
    replace_data: Annotated[
        bool, typer.Option("--replace-data", help="Let the source in params.yaml replace other data in data/.")
    ] = False,
) -> None:
    """Bring the chain up to date: run what changed, keep what did not.

    With --recipe or --set the run gets a workspace of its own, and yours stays as it is.
    """
    from flows.environment import check_services, export_environment, find_root, reuse_bytecode
    from flows.state_files import heal_and_say
    from flows.worktree import find_workspace

    root = find_root()
    export_environment(root)
    reuse_bytecode(root)
    settings = list(set_ or ())
    heal_and_say(root)
    workspace = find_workspace(root, recipe, settings)
    if workspace.isolated:
        heal_and_say(workspace.root)
    _check_data(workspace, replace_data)
    if dry_run:
        _show_plan(root, stage, from_stage, force, recipe, settings)
        return
    check_services(root)
    _run_flow(root, stage, from_stage, force, recipe, settings, jobs, stage_timeout_s, replace_data)


def _check_data(workspace: "Workspace", replace_data: bool) -> None:
    """Say which data a workspace of its own brings; refuse at once what would replace the user's."""
    from flows.data_source import check_replacement
    from ganpress.config.base import read_yaml

    if not workspace.isolated:
        if not replace_data:
            check_replacement(workspace.root, workspace.data.source)
        return
    own = (read_yaml(workspace.main / "params.yaml").get("data") or {}).get("source")
    if own != workspace.params.data.source:
        brought = f"recipe {workspace.recipe}" if workspace.recipe else "--set"
        typer.echo(
            f"{brought} brings data of its own, {workspace.params.data.source}, into a workspace of its own; "
            f"data/ of this project stays as it is ({own})"
        )


def _show_plan(
    root: Path, stages: list[str] | None, from_stage: str | None, force: bool, recipe: str | None, settings: list[str]
) -> None:
    """Print what a run would do; only its workspace is made."""
    from flows.commands.status import show_graph
    from flows.dvc_graph import read_graph
    from flows.worktree import make_workspace

    graph = read_graph(make_workspace(root, recipe, settings).root)
    show_graph(graph, graph.select(stages or (), from_stage), force)


def _run_flow(
    root: Path,
    stages: list[str] | None,
    from_stage: str | None,
    force: bool,
    recipe: str | None,
    settings: list[str],
    jobs: int | None,
    stage_timeout_s: float | None,
    replace_data: bool,
) -> None:
    """Run the Prefect flow in this process; the error of a failed run is raised."""
    import os

    from flows.prefect_server import local_prefect

    # Prefect's own lines would stand between ours; all of them are kept in its database.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        with local_prefect() as server:
            # All this happens while the server starts.
            from flows.dvc_graph import read_graph
            from flows.pipeline import check_jobs, ganpress_pipeline
            from flows.worktree import make_workspace

            check_jobs(jobs)
            read_graph(make_workspace(root, recipe, settings).root).select(stages or (), from_stage)
            if server is not None:
                server.wait_until_ready()
            state = ganpress_pipeline(
                stages, from_stage, force, recipe, settings, jobs, stage_timeout_s, replace_data, return_state=True
            )
        if state.is_failed():
            state.result()
    except KeyboardInterrupt:
        typer.echo("ganpress: interrupted; what is done is kept, run again to go on", err=True)
        raise typer.Exit(130) from None
