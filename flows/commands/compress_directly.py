"""`ganpress compress`."""

import math
import re
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
from ganpress.config.yaml_text import quoted

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
            "int8 (the runtime's own quantizer), or thin+distil and thin25+distil+ptq (percent of the channels, "
            "trained on the generator's pictures).",
            callback=one_line(40),
        ),
    ] = "ptq",
    target: Annotated[
        str, typer.Option(help="Runtime of the file; `ganpress targets` lists all.", callback=one_line(64))
    ] = "onnx",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="Most bytes of the file, e.g. 500000, 500kB or 2MiB: versions of the method's kind are tried.",
            callback=one_line(40),
        ),
    ] = None,
    psnr: Annotated[
        float | None,
        typer.Option(metavar="DB", help="Least PSNR to the original's images: the smallest version is kept."),
    ] = None,
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
        request.source, out, data=data, method=method, target=target, size=None if size is None else _bytes(size),
        psnr=psnr, any_size=any_size, request=request, say=typer.echo,
    )  # fmt: skip
    typer.echo("\n".join(_lines(made)))


SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(|B|kB|MB|GB|KiB|MiB|GiB)")
UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _bytes(text: str) -> int:
    from ganpress.errors import ConfigError

    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"--size {quoted(text)} is not a number of bytes, e.g. 500000, 500kB or 2MiB")
    return int(float(found[1]) * UNITS[found[2]])


def _lines(made: "Compressed") -> list[str]:
    decibels = [f"{name} {'equal' if value is None else f'{value:.1f}'}" for name, value in made.decibels.items()]
    smaller = made.size_bytes_before / made.size_bytes
    kernels = made.card.kernels
    return [
        f"{made.folder} holds {made.file.name}, its card.json, and pictures before and after",
        f"{made.size_bytes:,} bytes, {smaller:.1f} times fewer than the weights' {made.size_bytes_before:,}",
        _time(made),
        *([] if kernels is None else [f"kernels: {kernels.summary}"]),
        f"PSNR of its pictures to those of the original: {_psnr(made.psnr)}",
        f"SNR of each picture to that of the original, in dB: {', '.join(decibels)}",
    ]


def _psnr(value: float) -> str:
    return "infinite, they are equal" if math.isinf(value) else f"{value:.1f} dB"


def _time(made: "Compressed") -> str:
    if made.milliseconds is None:
        return f"no latency was measured: {made.card.stand_in} ran the file instead of its own runtime"
    faster = made.milliseconds_before / made.milliseconds
    return (
        f"{made.milliseconds:.2f} ms an image on one thread, {faster:.1f} times as fast as torch's "
        f"{made.milliseconds_before:.2f}"
    )
