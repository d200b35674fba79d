"""`ganpress import`."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import one_line
from ganpress.config.yaml_text import quoted

if TYPE_CHECKING:
    from ganpress.imported.import_card import ImportCard
    from ganpress.imported.importing import ImportRequest
    from models.imported_adapter import InputPart


MAX_INPUT_VALUES = 2**27
"""Largest number of values of one example input: half a gigabyte of float32."""
MAX_VALUE = 1_000_000
"""Largest absolute value of black or white."""


Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="FILE.py:function or module:function that builds your network; `compress` also takes FILE.onnx or "
        "FILE.pt2; with --keys, a family such as resnet_9blocks.",
        callback=one_line(),
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File or folder of the weights; default: the weights of the network that the function returns.",
    ),
]
WeightsKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Key of the weights in the file, e.g. g_ema; default: the key whose names "
                                     "and shapes fit the network.",
                 callback=one_line(256)),
]  # fmt: skip
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code in the weights file, which a pickled whole module needs.")
]
ExampleInput = Annotated[
    str | None,
    typer.Option(
        metavar="1xCxHxW",
        help="Shape of one input, e.g. 1x3x256x256, 1xZ for latents, 1xCxL for signals; the "
        "shape is static from then on.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=SHAPE[:DTYPE[:N]]",
        help="One of several inputs, e.g. z=1x128 or y=1:int64:10 (10 classes); [] after the name makes it an "
        "entry of a list.",
        callback=one_line(256),
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="INDEX|NAME",
        help="Which result is the image, e.g. 1 or images.0; default: found automatically.",
        callback=one_line(256),
    ),
]
LayoutOption = Annotated[
    str, typer.Option("--layout", metavar="NCHW|NHWC", help="Memory layout of the input and output images.")
]
NoiseOption = Annotated[
    str,
    typer.Option(
        "--noise", metavar="refused|fixed|input", help="How random numbers that the network draws itself are handled."
    ),
]
InputRange = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH", help="Values of black and white in its input; default: -1,1, or those of its output."
    ),
]
OutputRange = Annotated[
    str | None,
    typer.Option(metavar="LOW,HIGH", help="Values of black and white in its output; default: found from its images."),
]


def import_(
    source: Source,
    weights: Weights = None,
    example_input: ExampleInput = None,
    inputs: Inputs = None,
    output: Output = None,
    layout: LayoutOption = "NCHW",
    noise: NoiseOption = "refused",
    name: Annotated[
        str | None, typer.Option(help="Name of the folder below imported/; default: that of the module or family.")
    ] = None,
    input_range: InputRange = None,
    output_range: OutputRange = None,
    weights_key: WeightsKey = None,
    trust: Trust = False,
    keys: Annotated[
        str | None,
        typer.Option(
            help="Naming scheme of the tensors: cyclegan, gan_compression or pix2pix_unet.", callback=one_line(64)
        ),
    ] = None,
) -> None:
    """Import a generator that was trained elsewhere; the code of its module is run, so import only code that you
    trust.
    """
    from flows.environment import find_root

    root = find_root()
    request = request_of(
        source_of(source, root), weights, example_input, inputs, output, layout, noise, input_range, output_range,
        weights_key, trust,
    )  # fmt: skip
    card = bring_in(root, replace(request, name=name, keys=keys))
    pin = f"imported/{card.name}.dvc"
    typer.echo(f"next: commit {pin} with git, and set candidate.imported to imported/{card.name}")


def bring_in(root: Path, request: "ImportRequest") -> "ImportCard":
    """Import a generator into a project, pin it with DVC, and print a description of it."""
    from flows.imported_pin import pin_imported
    from ganpress.imported.importing import import_generator

    card = import_generator(root, request)
    pin_imported(root, card.name)
    typer.echo("\n".join(_lines(card)))
    return card


def request_of(
    source: str,
    weights: Path | None,
    example_input: str | None,
    inputs: list[str] | None = None,
    output: str | None = None,
    layout: str = "NCHW",
    noise: str = "refused",
    input_range: str | None = None,
    output_range: str | None = None,
    weights_key: str | None = None,
    trust: bool = False,
) -> "ImportRequest":
    """Build the import request from the options of a command.

    Raises:
        ConfigError: if an option is malformed; the message names it.
    """
    from ganpress.imported.importing import ImportRequest

    return ImportRequest(
        source=source,
        weights=None if weights is None else weights.resolve(),
        example=None if example_input is None else _parse_shape("--example-input", example_input),
        input_range=None if input_range is None else _parse_range("--input-range", input_range),
        output_range=None if output_range is None else _parse_range("--output-range", output_range),
        inputs=tuple(map(_parse_input, inputs or ())),
        output=output or "",
        layout=_one_of("--layout", layout, ("NCHW", "NHWC")),
        noise=_one_of("--noise", noise, ("refused", "fixed", "input")),
        weights_key=weights_key,
        trusted=trust,
    )


def source_of(source: str, root: Path) -> str:
    """Rewrite a path that is relative to the working directory so that it is relative to the project's root, as the
    stages need it.
    """
    module, colon, function = source.rpartition(":")
    if not module.endswith(".py"):
        return source
    place = Path(module).resolve()
    return f"{place.relative_to(root) if place.is_relative_to(root) else place}{colon}{function}"


def _one_of(option: str, text: str, allowed: tuple[str, ...]) -> Any:
    from ganpress.errors import ConfigError

    if text not in allowed:
        raise ConfigError(f"{option} {quoted(text)} is not one of {', '.join(allowed)}")
    return text


def _parse_input(text: str) -> "InputPart":
    from ganpress.errors import ConfigError
    from models.imported_adapter import InputPart

    found = re.fullmatch(r"([A-Za-z_]\w{0,63}(?:\[\])?)=([0-9x]{1,80})(?::(float32|int64)(?::([0-9]{1,6}))?)?", text)
    if found is None or (found[4] and int(found[4]) < 1):
        raise ConfigError(
            f"--input {quoted(text)} is not NAME=SHAPE[:DTYPE[:CLASSES]], e.g. z=1x128 or y=1:int64:10, with "
            "float32 or int64 and the batch of 1 first"
        )
    shape = (1,) if found[2] == "1" else _parse_shape("--input", found[2])
    if shape[0] != 1:
        raise ConfigError(f"--input {quoted(text)}: the first number is the batch, 1")
    return InputPart(found[1], shape[1:], found[3] or "float32", int(found[4] or 2))


def _parse_shape(option: str, text: str) -> tuple[int, ...]:
    from ganpress.errors import ConfigError

    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9}){1,5}", text):
        raise ConfigError(f"{option} {quoted(text)} is not two to six numbers joined by 'x', e.g. 1x3x256x256")
    shape = tuple(map(int, text.split("x")))
    if not 1 <= math.prod(shape) <= MAX_INPUT_VALUES:
        raise ConfigError(f"{option} {text} has {math.prod(shape):,} values; it must have 1 to {MAX_INPUT_VALUES:,}")
    return shape


def _parse_range(option: str, text: str) -> tuple[float, float]:
    from ganpress.errors import ConfigError

    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {quoted(text)} is not two numbers LOW,HIGH, e.g. 0,1") from None
    if not -MAX_VALUE <= low < high <= MAX_VALUE:
        raise ConfigError(
            f"{option} {quoted(text)}: black must be less than white, and both between {-MAX_VALUE:,} and {MAX_VALUE:,}"
        )
    return low, high


def _lines(card: "ImportCard") -> list[str]:
    shapes = ["x".join(map(str, shape)) for shape in (card.input_shape, card.output_shape)]
    ranges = [f"[{low:g}, {high:g}]" for low, high in (card.input_range, card.output_range)]
    return [
        f"imported/{card.name} is {card.source}: {shapes[0]} in {ranges[0]} -> {shapes[1]} in {ranges[1]}",
        f"{card.cost.parameters:,} parameters, {card.cost.macs_exact:,} MACs, {card.cost.size_bytes:,} bytes",
        *_group_lines(card),
        *(f"note: {note}" for note in card.notes),
    ]


def _group_lines(card: "ImportCard") -> list[str]:
    if card.source_sha256 is None and not card.groups:
        return [f"widths: a student or supernet of {card.source.partition(':')[0]} takes any spec of that family"]
    count = len(card.groups)
    examples = ["imported:50", *(["imported:" + "_".join(["100", "50", "25"][:count])] if 1 < count <= 3 else [])]
    if count > 3:
        examples.append("imported:100_50_25_…")
    spec = f"; a spec is {' or '.join(examples)}, in percent of each group" if count else " can be thinned"
    lines = [f"{count} channel {'group' if count == 1 else 'groups'}{spec}"]
    lines += [
        f"  {place:>3}  {group.name:<36} {group.units:>5} units in {len(group.layers)} layers"
        for place, group in enumerate(card.groups, start=1)
    ]
    lines += [f"  cannot be pruned: {refusal.layer}: {refusal.reason}" for refusal in card.not_thinned]
    return lines
