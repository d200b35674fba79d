"""`ganpress promote` and `ganpress rollback`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Recipe, one_line

if TYPE_CHECKING:
    from ganpress.tracking.store import Store

WHICH = 200
"""Largest number of characters of a version's name."""


def promote(
    version: Annotated[
        str | None,
        typer.Argument(
            help="Number of a registered version, or the name of a generator such as export/subnet-int8; "
            "default: the candidate.",
            callback=one_line(WHICH),
        ),
    ] = None,
    recipe: Recipe = None,
) -> None:
    """Make a registered edge file the champion; the former champion is kept as `previous`."""
    from ganpress.tracking.promotion import promote as promote_version

    root, name = _model(recipe)
    number, reference = promote_version(_store(root), name, root, version)
    typer.echo(f"{name}: version {number} ({reference}) is the champion; models:/{name}@champion loads it")


def rollback(
    recipe: Recipe = None,
) -> None:
    """Make the previous champion the champion again."""
    from ganpress.tracking.promotion import roll_back

    root, name = _model(recipe)
    number, reference = roll_back(_store(root), name, root)
    typer.echo(f"{name}: version {number} ({reference}) is the champion again")


def _model(recipe: str | None) -> tuple[Path, str]:
    from flows.environment import find_root
    from ganpress.tracking.model_registry import registered_name

    return find_root(), registered_name(recipe)


def _store(root: Path) -> "Store":
    from ganpress.tracking.store import open_store

    return open_store(root)
