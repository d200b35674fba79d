"""`ganpress cost`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from flows.options import between, one_line
from ganpress.config.image_size import MAX_CHANNELS, parse_size
from ganpress.errors import ConfigError


def check_size(value: str | None) -> str | None:
    """Check an image's size before torch is loaded."""
    if value is not None:
        parse_size(value)
    return value


def cost(
    generator: Annotated[
        str,
        typer.Argument(
            help="Architecture and spec, e.g. wdcgan:16_8_16_4 or resnet_9blocks:ngf=64.", callback=one_line()
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Image size in pixels; default: the family's.", callback=check_size),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(metavar="C", help="Image channels; default: the family's.", callback=between(1, MAX_CHANNELS)),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print parameters, MACs and bytes of an architecture, without training it."""
    _check_name(generator)
    from ganpress.performance.generator_cost import named_cost

    found = asdict(named_cost(generator, size, channels))
    if as_json:
        typer.echo(json.dumps({"generator": generator, **found}))
        return
    for name, value in found.items():
        typer.echo(f"{name:<18} {value:>17,}")


def _check_name(generator: str) -> None:
    """Refuse an unknown name before torch is loaded, which takes seconds."""
    from models.families import split_name

    try:
        split_name(generator)
    except ValueError as error:
        raise ConfigError(str(error)) from None
