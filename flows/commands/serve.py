"""`ganpress serve`."""

from typing import Annotated, Any

import typer

from flows.commands.run import Recipe, Settings
from flows.commands.ui import Host
from ganpress.errors import ConfigError
from ganpress.request_guard import LOOPBACK, check_host, configured_login

DEFAULT_PORT = 4200
MIN_INTERVAL_S = 1.0


def serve(
    cron: Annotated[
        str | None, typer.Option(help='When, as five cron fields: "0 3 * * *" is every night at three.')
    ] = None,
    interval: Annotated[float | None, typer.Option(help="Or every so many seconds.")] = None,
    recipe: Recipe = None,
    set_: Settings = None,
    port: Annotated[
        int, typer.Option(help="Port of the Prefect server, unless PREFECT_API_URL names one.")
    ] = DEFAULT_PORT,
    host: Host = LOOPBACK,
    name: Annotated[str, typer.Option(help="Name of the schedule in Prefect.")] = "scheduled",
) -> None:
    """Run the chain on a schedule until interrupted; what is up to date stays `Cached`."""
    import os

    from flows.environment import check_services, export_environment, find_root, reuse_bytecode
    from flows.parameters import check_recipe_inside
    from flows.prefect_server import local_prefect
    from flows.state_files import heal_and_say
    from flows.worktree import find_workspace

    if (cron is None) == (interval is None):
        raise ConfigError('say when: either --cron "0 3 * * *" or --interval SECONDS')
    if interval is not None and interval < MIN_INTERVAL_S:
        raise ConfigError(f"--interval is {interval:g} s; it must be at least {MIN_INTERVAL_S:g} s")
    check_host(host, configured_login(os.environ))
    root = find_root()
    # Every scheduled run is a process that starts where this one stands.
    os.chdir(root)
    export_environment(root)
    reuse_bytecode(root)
    settings = list(set_ or ())
    heal_and_say(root)
    check_recipe_inside(root, recipe)
    find_workspace(root, recipe, settings)
    check_services(root)
    with local_prefect(port, standing=True, host=host) as server:
        schedule = _schedule(cron, interval)
        if server is not None:
            server.wait_until_ready()
            typer.echo(f"Prefect: {server.link('deployments')}")
            typer.echo(server.instruction)
        typer.echo(f"ganpress runs {f'at {cron}' if cron else f'every {interval:g} s'}; stop with Ctrl-C")
        _serve_flow(name, schedule, {"recipe": recipe, "settings": settings})


def _schedule(cron: str | None, interval: float | None) -> Any:
    """Return Prefect's schedule.

    Raises:
        ConfigError: if `cron` is no cron expression.
    """
    from datetime import timedelta

    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if cron is None:
        assert interval is not None
        return IntervalSchedule(interval=timedelta(seconds=interval))
    try:
        return CronSchedule(cron=cron)
    except ValueError:
        raise ConfigError(
            f"--cron '{cron}' is no cron expression; give five fields (minute hour day month weekday), "
            'for example "0 3 * * *" or "*/30 * * * *"'
        ) from None


def _serve_flow(name: str, schedule: Any, parameters: dict[str, Any]) -> None:
    """Offer the flow to Prefect's scheduler and run what it asks for, one run at a time."""
    from prefect import serve as serve_deployments
    from prefect.deployments.runner import EntrypointType

    from flows.pipeline import ganpress_pipeline

    deployment = ganpress_pipeline.to_deployment(
        name=name,
        schedules=[schedule],
        parameters=parameters,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    serve_deployments(deployment, limit=1, print_starting_message=False)
