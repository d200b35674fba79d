"""`ganpress serve`."""

import enum
import re
from typing import Annotated, Any

import typer

from flows.commands.ui import Host
from flows.hooks import FAILURE, SUCCESS, OnFailure, OnSuccess
from flows.options import YEAR_S, Recipe, Retries, Settings, between, one_line
from ganpress.basics.request_guard import LOOPBACK, check_host, configured_login
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError

DEFAULT_PORT = 4200
MIN_INTERVAL_S = 1.0
SECONDS = between(MIN_INTERVAL_S, YEAR_S, " s")
CRON_CHARACTERS = 200
CRON_FIELDS = 5
MAX_NAME = 100


class Overlap(enum.StrEnum):
    """What happens to a run that becomes due while another one is running."""

    QUEUE = "queue"
    SKIP = "skip"
    CANCEL = "cancel"


def check_name(value: str) -> str:
    """Check the name of a schedule, which becomes part of URLs and of Prefect's own names."""
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9 ._-]{{0,{MAX_NAME - 1}}}", value):
        raise ConfigError(
            f"--name is {quoted(value)}; it must be 1 to {MAX_NAME} letters, digits, spaces, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return value


def check_cron(cron: str) -> None:
    """Check that `cron` has five fields and describes a time that will come.

    Raises:
        ConfigError: if it does not.
    """
    from datetime import UTC, datetime

    from prefect._vendor.croniter import croniter

    try:
        if len(cron.split()) != CRON_FIELDS:
            raise ValueError("not five fields")
        croniter(cron, datetime.now(UTC)).get_next()
    except (ValueError, KeyError, OverflowError):  # croniter's errors are ValueErrors too.
        raise ConfigError(
            f"--cron '{cron}' is not a cron expression, or its time never comes; give five fields (minute hour day "
            'month weekday), for example "0 3 * * *" or "*/30 * * * *"'
        ) from None


def serve(
    cron: Annotated[
        str | None,
        typer.Option(
            help='Time of the runs as five cron fields: "0 3 * * *" is every night at three.',
            callback=one_line(CRON_CHARACTERS),
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(help="Run every this many seconds instead.", callback=between(MIN_INTERVAL_S, YEAR_S, " s")),
    ] = None,
    recipe: Recipe = None,
    set_: Settings = None,
    port: Annotated[
        int,
        typer.Option(
            help="Port of the Prefect server, unless PREFECT_API_URL names a server.", callback=between(0, 65_535)
        ),
    ] = DEFAULT_PORT,
    host: Host = LOOPBACK,
    retries: Retries = 0,
    on_failure: OnFailure = None,
    on_success: OnSuccess = None,
    overlap: Annotated[
        Overlap,
        typer.Option(
            help="What happens to runs that become due while another one is running: the last of them waits (queue), "
            "they are left out (skip), or the running one is cancelled for the new one (cancel)."
        ),
    ] = Overlap.QUEUE,
    on_new_data: Annotated[
        str | None,
        typer.Option(
            "--on-new-data",
            help="At its times, run only if there is a new version of the data: in the folder that params.yaml names "
            "(source), where `dvc import` got it from (import), or in data.dvc of a branch (branch:REMOTE/BRANCH).",
            callback=one_line(),
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the schedule in Prefect.", callback=check_name)] = "scheduled",
) -> None:
    """Run the chain on a schedule until interrupted; stages that are up to date stay `Cached`."""
    import os

    from flows.environment import check_services, export_environment, find_root, reuse_bytecode
    from flows.new_data import VARIABLE, check_place
    from flows.prefect_server import local_prefect
    from flows.preflight import check_environment, check_needs
    from flows.run_request import check_recipe_inside, read_request
    from flows.state_files import heal_and_say
    from flows.worktree import find_workspace

    if (cron is None) == (interval is None):
        raise ConfigError('give a time: either --cron "0 3 * * *" or --interval SECONDS')
    if cron is not None:
        check_cron(cron)
    check_host(host, configured_login(os.environ))
    if on_new_data is not None:
        check_place(on_new_data)
    root = find_root()
    # Every scheduled run is a process that starts in this working directory.
    os.chdir(root)
    export_environment(root)
    reuse_bytecode(root)
    settings = list(set_ or ())
    heal_and_say(root)
    check_recipe_inside(root, recipe)
    read_request(recipe=recipe, settings=settings, retries=retries)
    check_environment()
    check_needs(find_workspace(root, recipe, settings))
    check_services(root)
    with local_prefect(port, standing=True, host=host) as server:
        schedule = _schedule(cron, interval)
        if server is not None:
            server.wait_until_ready()
            typer.echo(f"Prefect: {server.link('deployments')}")
            typer.echo(server.instruction)
        typer.echo(f"ganpress runs {f'at {cron}' if cron else f'every {interval:g} s'}; press Ctrl-C to stop")
        # The hooks come from the environment, not from the flow's parameters, because a client of the server must
        # never be able to choose a command.
        told = {FAILURE: on_failure, SUCCESS: on_success, VARIABLE: on_new_data}
        os.environ.update({variable: hook for variable, hook in told.items() if hook})
        _serve_flow(name, schedule, {"recipe": recipe, "settings": settings, "retries": retries}, overlap)


def _schedule(cron: str | None, interval: float | None) -> Any:
    """Return Prefect's schedule."""
    from datetime import timedelta

    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if cron is not None:
        return CronSchedule(cron=cron)
    assert interval is not None
    return IntervalSchedule(interval=timedelta(seconds=interval))


def _interrupt(*_: object) -> None:
    """Treat SIGTERM like Ctrl-C."""
    import signal

    signal.raise_signal(signal.SIGINT)


def _serve_flow(name: str, schedule: Any, parameters: dict[str, Any], overlap: Overlap) -> None:
    """Register the flow with Prefect's scheduler and run what it asks for, one run at a time."""
    from prefect import serve as serve_deployments
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import EntrypointType
    from prefect.runner import Runner

    from flows.pipeline import ganpress_pipeline

    # Prefect's own SIGTERM handler stops the runner from inside its loop, which ends in a traceback
    # (PrefectHQ/prefect#16746).
    Runner.handle_sigterm = _interrupt

    strategy = ConcurrencyLimitStrategy.CANCEL_NEW if overlap is Overlap.SKIP else ConcurrencyLimitStrategy.ENQUEUE
    limit = ConcurrencyLimitConfig(limit=1, collision_strategy=strategy)
    deployment = ganpress_pipeline.to_deployment(
        name=name,
        schedules=[schedule],
        parameters={**parameters, "overlap": "cancel" if overlap is Overlap.CANCEL else "queue"},
        entrypoint_type=EntrypointType.MODULE_PATH,
        concurrency_limit=None if overlap is Overlap.CANCEL else limit,
    )
    # A run can only be cancelled, or cancel another, if the runner accepts it while the other one is running.
    serve_deployments(deployment, limit=1 if overlap is Overlap.QUEUE else 2, print_starting_message=False)
