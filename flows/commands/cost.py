"""`ganpress cost`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def cost(
    generator: Annotated[
        str, typer.Argument(help="Architecture and spec, e.g. wdcgan:16_8_16_4 or resnet_9blocks:ngf=64.")
    ],
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Image size in pixels; default: the family's.")
    ] = None,
    channels: Annotated[int | None, typer.Option(metavar="C", help="Image channels; default: the family's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print parameters, MACs and bytes of an architecture, without training it."""
    from ganpress.cost import named_cost

    found = asdict(named_cost(generator, size, channels))
    if as_json:
        typer.echo(json.dumps({"generator": generator, **found}))
        return
    for name, value in found.items():
        typer.echo(f"{name:<18} {value:>17,}")
