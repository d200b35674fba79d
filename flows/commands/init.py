"""`ganpress init` and `ganpress upgrade`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.import_ import ExampleInput, Weights
from flows.options import one_line
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError, GanpressError

if TYPE_CHECKING:
    from ganpress.imported.import_card import ImportCard
    from ganpress.imported.importing import ImportRequest

DEFAULT_DATA = "digits"
"""Default data set: scans that come with a dependency, so that a project without its own data can run."""
SHARE_OF_PARAMETERS = 0.4
"""Parameter budget of the search in a new project, as a share of the imported generator's parameters."""


def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the project; it is created if it does not exist.", callback=one_line())
    ] = Path(),
    data: Annotated[
        str | None,
        typer.Option(
            help="Data source, as `ganpress data add` takes it, e.g. folder:pictures; default: digits.",
            callback=one_line(),
        ),
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            help="Your trained generator, from which the chain starts, as `ganpress import` takes it, e.g. "
            "gen/my_module.py:build.",
            callback=one_line(),
        ),
    ] = None,
    weights: Weights = None,
    example_input: ExampleInput = None,
) -> None:
    """Create a project of your own, in which every command works without a clone of ganpress."""
    from flows.project_files import make_project

    if generator is None and (weights is not None or example_input is not None):
        raise ConfigError("--weights and --example-input belong to --generator, which is not given")
    start = Path.cwd()
    source = _seen_from(start, data or DEFAULT_DATA)
    request = None if generator is None else _request(_factory_seen_from(start, generator), weights, example_input)
    made_git = make_project(folder)
    typer.echo(f"{folder.resolve()}: a ganpress project{', in a new git repository' if made_git else ''}")
    os.chdir(folder)
    try:
        _add_data(source)
        if request is not None:
            _bring_in(request)
    except GanpressError as error:
        raise ConfigError(
            f"the project {quoted(str(folder))} was created, but: {error}; fix that, then run `ganpress data add` or "
            "`ganpress import` there"
        ) from None
    if made_git:
        _commit_settings()
    where = "" if folder.resolve() == start.resolve() else f"cd {folder}, then "
    typer.echo(f"next: {where}`ganpress run`; README.md there names the other commands")


def upgrade(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Print what would change and write nothing.")
    ] = False,
) -> None:
    """Upgrade the files of a project that `ganpress init` created to the installed version, and say what will run
    again.
    """
    from flows.commands.status import status
    from flows.environment import find_root
    from flows.project_files import installed, project_version, upgrade_project
    from ganpress.config.params import load_params

    root = find_root()
    former = project_version(root)
    load_params(
        root / "params.yaml"
    )  # Parameters that the new version refuses are reported before anything is written.
    changes = upgrade_project(root, dry_run)
    typer.echo(f"{root}: {f'{former} -> {installed()}' if former != installed() else f'already at version {former}'}")
    for change in changes:
        typer.echo(f"  {change.path} {change.words}")
    if changes and not dry_run:
        status()


def _add_data(source: str) -> None:
    from flows.commands.data import add

    add(source)


def _request(factory: str, weights: Path | None, example_input: str | None) -> "ImportRequest":
    """Build the request for the import, and refuse what would stop it after the project was created.

    Raises:
        ConfigError: if a file does not exist, or the options give no inputs that a generator reads.
    """
    from flows.commands.import_ import request_of
    from ganpress.imported.importing import example_and_adapter

    request, module = request_of(factory, weights, example_input), Path(factory.rpartition(":")[0])
    for option, path in (("--generator", module if module.suffix == ".py" else None), ("--weights", request.weights)):
        if path is not None and not path.exists():
            raise ConfigError(f"{option}: {path} does not exist")
    example_and_adapter(request)
    return request


def _bring_in(request: "ImportRequest") -> None:
    from flows.commands.import_ import bring_in, source_of
    from flows.params_file import set_values

    root = Path.cwd()
    card = bring_in(root, replace(request, source=source_of(request.source, root)))
    for change in set_values(root, _settings_of(card)):
        typer.echo(change)
    if not _reads_latents(card):
        typer.echo(
            "note: this generator reads pictures. To train students, add pairs or two domains with `ganpress "
            "data add`, and name a framework in their sections of params.yaml (docs/importing.md); `ganpress "
            "compress` needs neither"
        )


def _settings_of(card: "ImportCard") -> dict[str, object]:
    """Return the values of params.yaml, by dotted key, for a chain that starts from an imported generator."""
    values: dict[str, object] = {
        "candidate.imported": f"imported/{card.name}",
        "candidate.items": {"mine": {"imported": True}},
    }
    if not _reads_latents(card):
        return values
    _, channels, _, width = card.output_shape
    values |= {"prepare.latent": card.input_shape[1], "prepare.image_size": width, "prepare.channels": channels}
    if not card.groups:
        return values
    exported = {one: {"generator": one} for one in ("teacher", "subnet")}
    exported |= {"half": {"generator": "student/half"}, "subnet-int8": {"generator": "compress/subnet-int8"}}
    return values | {
        "student.items": {"half": {"spec": "imported:50", "loss": "mse"}},
        "supernet.family": "imported",
        "supernet.widths": [[25, 50, 75, 100]],
        "search.max_parameters": int(SHARE_OF_PARAMETERS * card.cost.parameters),
        "export.items": exported,
    }


def _reads_latents(card: "ImportCard") -> bool:
    """Return whether a generator reads a vector of noise."""
    return len(card.input_shape) == 2


def _commit_settings() -> None:
    from flows.project_files import commit

    root = Path.cwd()
    imported = [path for pattern in ("*.dvc", ".gitignore") for path in (root / "imported").glob(pattern)]
    pins = [str(path.relative_to(root)) for path in imported]
    commit(root, "ganpress init: data and settings", "params.yaml", "data.dvc", ".gitignore", *pins)


def _seen_from(start: Path, source: str) -> str:
    """Resolve a relative path in a source against the folder where the command was given.

    Raises:
        ConfigError: if there is no such kind of source, or nothing at the path.
    """
    from ganpress.data.raw.dataset_card import with_place
    from ganpress.data.sources.acquisition import check_source

    def resolved(place: str) -> str:
        path = (start / Path(place).expanduser()).resolve()
        if not path.exists():
            raise ConfigError(f"--data: {path} does not exist")
        return str(path)

    check_source(source)
    return with_place(source, resolved)


def _factory_seen_from(start: Path, factory: str) -> str:
    module, colon, function = factory.rpartition(":")
    if not colon:
        raise ConfigError(
            f"--generator {quoted(factory)} does not name a function; write module:function or file.py:function"
        )
    return f"{(start / module).resolve()}:{function}" if module.endswith(".py") else factory
