"""`ganpress run`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.hooks import OnFailure, OnSuccess, telling
from flows.options import (
    MAX_JOBS,
    MIN_TIMEOUT_S,
    STAGE_NAME,
    YEAR_S,
    Cluster,
    Device,
    Gpus,
    Recipe,
    Retries,
    Settings,
    StrictVersions,
    between,
    one_line,
)

if TYPE_CHECKING:
    from flows.run_request import RunRequest
    from flows.worktree import Workspace


def run(
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", "-s", help="Run only this stage and nothing upstream; repeatable.", callback=one_line(STAGE_NAME)
        ),
    ] = None,
    from_stage: Annotated[
        str | None,
        typer.Option("--from", help="Run this stage and everything downstream.", callback=one_line(STAGE_NAME)),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Run the chosen stages even if they are up to date.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Print what would run, and why.")] = False,
    recipe: Recipe = None,
    set_: Settings = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            help="Number of stages to run in parallel; default: the number of cores.",
            callback=between(1, MAX_JOBS),
        ),
    ] = None,
    stage_timeout_s: Annotated[
        float | None,
        typer.Option(help="Seconds after which a stage is stopped.", callback=between(MIN_TIMEOUT_S, YEAR_S, " s")),
    ] = None,
    replace_data: Annotated[
        bool, typer.Option("--replace-data", help="Let the source in params.yaml replace different data in data/.")
    ] = False,
    strict_versions: StrictVersions = False,
    retries: Retries = 0,
    on_failure: OnFailure = None,
    on_success: OnSuccess = None,
    device: Device = None,
    gpus: Gpus = None,
    cluster: Cluster = None,
) -> None:
    """Bring the chain up to date: run the stages that changed and keep the results of the others.

    With --recipe or --set, the run gets its own workspace, and yours is not changed.
    """
    from contextlib import nullcontext

    from flows.cluster_choice import refuse_devices, settle_cluster
    from flows.device_choice import settle_device, settle_ranks
    from flows.environment import check_services, export_environment, find_root, main_root, reuse_bytecode
    from flows.run_request import read_request
    from flows.state_files import heal_and_say
    from flows.worktree import find_workspace

    root = find_root()
    export_environment(root)
    reuse_bytecode(root)
    request = read_request(
        stages=stage,
        from_stage=from_stage,
        force=force,
        recipe=recipe,
        settings=set_,
        jobs=jobs,
        stage_timeout_s=stage_timeout_s,
        replace_data=replace_data,
        strict_versions=strict_versions,
        retries=retries,
    )
    with nullcontext() if dry_run else telling(main_root(root), recipe, on_failure, on_success):
        heal_and_say(root)
        if address := settle_cluster(cluster):
            refuse_devices(device, gpus)
            typer.echo(f"cluster: {address}")
        else:
            chosen, ranks = settle_device(device), settle_ranks(gpus)
            typer.echo(f"device: {chosen}" + (f", {ranks} ranks for each training" if ranks > 1 else ""))
        workspace = find_workspace(root, recipe, request.settings or ())
        if workspace.isolated:
            heal_and_say(workspace.root)
            _say_data(workspace)
        if dry_run:
            _show_plan(root, request)
            return
        check_services(root)
        _run_flow(root, request)


def _say_data(workspace: "Workspace") -> None:
    """Print that a recipe brings its own data, if it does."""
    from ganpress.config.base import read_yaml

    own = (read_yaml(workspace.main / "params.yaml").get("data") or {}).get("source")
    if own != workspace.params.data.source:
        brought = f"recipe {workspace.recipe}" if workspace.recipe else "--set"
        typer.echo(
            f"{brought} has its own data, {workspace.params.data.source}, which goes into its own workspace; "
            f"data/ of this project is not changed ({own})"
        )


def _show_plan(root: Path, request: "RunRequest") -> None:
    """Print what a run would do, or refuse what a run would refuse; only its workspace is created."""
    from flows.preflight import prepare
    from flows.stage_table import show_graph

    ready = prepare(root, request)
    show_graph(ready.graph, ready.chosen, request.force)


def _run_flow(root: Path, request: "RunRequest") -> None:
    """Run the Prefect flow in this process, and raise the error of a failed run."""
    import os

    from flows.prefect_server import local_prefect

    # Prefect's log lines would be mixed with ours; its database keeps all of them.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    try:
        with local_prefect() as server:
            # These imports and checks run while the server starts.
            from flows.pipeline import ganpress_pipeline
            from flows.preflight import prepare_ahead

            prepare_ahead(root, request)
            if server is not None:
                server.wait_until_ready()
            state = ganpress_pipeline(**request.model_dump(), return_state=True)
        if state.is_failed():
            state.result()
    except KeyboardInterrupt:
        typer.echo("ganpress: interrupted; finished work is kept, run again to continue", err=True)
        raise typer.Exit(130) from None
