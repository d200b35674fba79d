"""`ganpress import`."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import one_line
from ganpress.config.yaml_text import quoted

if TYPE_CHECKING:
    from ganpress.imported.import_card import ImportCard


MAX_INPUT_VALUES = 2**27
"""Of one example input: half a gigabyte of float32."""
MAX_VALUE = 1_000_000
"""Of black and white, either side of zero."""


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="module:function that builds your network, or with --keys a family, resnet_9blocks.",
            callback=one_line(),
        ),
    ],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its state_dict; default: the weights the function gives.")
    ] = None,
    example_input: Annotated[
        str | None, typer.Option(metavar="1xCxHxW", help="Shape of one input, or 1xZ for latents; static from then on.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Folder below imported/; default: the module or family.")] = None,
    input_range: Annotated[str, typer.Option(metavar="LOW,HIGH", help="Black and white as it reads them.")] = "-1,1",
    output_range: Annotated[str, typer.Option(metavar="LOW,HIGH", help="Black and white as it draws them.")] = "-1,1",
    keys: Annotated[
        str | None,
        typer.Option(
            help="Whose names the tensors have: cyclegan, gan_compression, pix2pix_unet.", callback=one_line(64)
        ),
    ] = None,
) -> None:
    """Bring in a generator that was trained elsewhere; your module's code is run, so import only what you trust."""
    from flows.environment import find_root
    from flows.imported_pin import pin_imported
    from ganpress.imported.importing import ImportRequest, import_generator

    root = find_root()
    request = ImportRequest(
        source=source,
        weights=None if weights is None else weights.resolve(),
        example=None if example_input is None else _parse_shape(example_input),
        name=name,
        keys=keys,
        input_range=_parse_range("--input-range", input_range),
        output_range=_parse_range("--output-range", output_range),
    )
    card = import_generator(root, request)
    pin_imported(root, card.name)
    typer.echo("\n".join(_lines(card)))


def _parse_shape(text: str) -> tuple[int, ...]:
    from ganpress.errors import ConfigError

    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9}){1,5}", text):
        raise ConfigError(f"--example-input {quoted(text)} is not numbers joined by 'x', two to six, e.g. 1x3x256x256")
    shape = tuple(map(int, text.split("x")))
    if not 1 <= math.prod(shape) <= MAX_INPUT_VALUES:
        raise ConfigError(
            f"--example-input {text} has {math.prod(shape):,} values; it must have 1 to {MAX_INPUT_VALUES:,}"
        )
    return shape


def _parse_range(option: str, text: str) -> tuple[float, float]:
    from ganpress.errors import ConfigError

    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {quoted(text)} is not two numbers LOW,HIGH, e.g. 0,1") from None
    if not -MAX_VALUE <= low < high <= MAX_VALUE:
        raise ConfigError(
            f"{option} {quoted(text)}: black and white are ascending, between {-MAX_VALUE:,} and {MAX_VALUE:,}"
        )
    return low, high


def _lines(card: "ImportCard") -> list[str]:
    shapes = ["x".join(map(str, shape)) for shape in (card.input_shape, card.output_shape)]
    ranges = [f"[{low:g}, {high:g}]" for low, high in (card.input_range, card.output_range)]
    return [
        f"imported/{card.name} is {card.source}: {shapes[0]} in {ranges[0]} -> {shapes[1]} in {ranges[1]}",
        f"{card.cost.parameters:,} parameters, {card.cost.macs_exact:,} MACs, {card.cost.size_bytes:,} bytes",
        *_group_lines(card),
        f"next: commit imported/{card.name}.dvc with git, and set candidate.imported to imported/{card.name}",
    ]


def _group_lines(card: "ImportCard") -> list[str]:
    if card.source_sha256 is None and not card.groups:
        return [f"widths: a student or supernet of {card.source.partition(':')[0]} takes any spec of that family"]
    count = len(card.groups)
    examples = ["imported:50", *(["imported:" + "_".join(["100", "50", "25"][:count])] if 1 < count <= 3 else [])]
    if count > 3:
        examples.append("imported:100_50_25_…")
    spec = f"; a spec is {' or '.join(examples)}, percent of each" if count else " can be thinned"
    lines = [f"{count} channel {'group' if count == 1 else 'groups'}{spec}"]
    lines += [
        f"  {place:>3}  {group.name:<36} {group.units:>5} units in {len(group.layers)} layers"
        for place, group in enumerate(card.groups, start=1)
    ]
    lines += [f"  not thinned: {refusal.layer}: {refusal.reason}" for refusal in card.not_thinned]
    return lines
