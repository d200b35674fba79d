"""`ganpress compress`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.import_ import (
    ExampleInput,
    InputRange,
    Inputs,
    LayoutOption,
    NoiseOption,
    Output,
    OutputRange,
    Source,
    Trust,
    Weights,
    WeightsKey,
    request_of,
    source_of,
)
from flows.options import one_line

if TYPE_CHECKING:
    from ganpress.direct.edge_folder import Compressed


def compress(
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write.")],
    weights: Weights = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Pictures or .npy arrays for calibration; a generator of latents needs none."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="ptq, qad (trained integers), wNaM, wN or qad-wNaM (bits of weights and activations), float, "
            "or int8 (the runtime's own quantizer).",
            callback=one_line(40),
        ),
    ] = "ptq",
    target: Annotated[
        str, typer.Option(help="Runtime of the file; `ganpress targets` lists all.", callback=one_line(64))
    ] = "onnx",
    any_size: Annotated[bool, typer.Option("--any-size", help="Let the file accept pictures of any size.")] = False,
    example_input: ExampleInput = None,
    inputs: Inputs = None,
    output: Output = None,
    layout: LayoutOption = "NCHW",
    noise: NoiseOption = "refused",
    input_range: InputRange = None,
    output_range: OutputRange = None,
    weights_key: WeightsKey = None,
    trust: Trust = False,
) -> None:
    """Compress your generator into a verified edge file; no project is needed. The code of your module is run."""
    from ganpress.direct import compressing

    here = Path.cwd()
    request = request_of(
        source_of(source, here), weights, example_input, inputs, output, layout, noise, input_range, output_range,
        weights_key, trust,
    )  # fmt: skip
    made = compressing.compress(
        request.source, out, data=data, method=method, target=target, any_size=any_size, request=request, say=typer.echo
    )
    typer.echo("\n".join(_lines(made)))


def _lines(made: "Compressed") -> list[str]:
    decibels = [f"{name} {'equal' if value is None else f'{value:.1f}'}" for name, value in made.decibels.items()]
    smaller = made.size_bytes_before / made.size_bytes
    kernels = made.card.kernels
    return [
        f"{made.folder} holds {made.file.name}, its card.json, and pictures before and after",
        f"{made.size_bytes:,} bytes, {smaller:.1f} times fewer than the weights' {made.size_bytes_before:,}",
        _time(made),
        *([] if kernels is None else [f"kernels: {kernels.summary}"]),
        f"SNR of each picture to that of the original, in dB: {', '.join(decibels)}",
    ]


def _time(made: "Compressed") -> str:
    if made.milliseconds is None:
        return f"no latency was measured: {made.card.stand_in} ran the file instead of its own runtime"
    faster = made.milliseconds_before / made.milliseconds
    return (
        f"{made.milliseconds:.2f} ms an image on one thread, {faster:.1f} times as fast as torch's "
        f"{made.milliseconds_before:.2f}"
    )
