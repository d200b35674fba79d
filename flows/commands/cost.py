"""`ganpress cost`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import AsJson, Recipe, Settings, between, one_line
from ganpress.config.image_size import MAX_CHANNELS, parse_size
from ganpress.errors import ConfigError

if TYPE_CHECKING:
    from tasks.shared.training_costs import TrainingCost

TFLOPS = 10.0
"""Assumed throughput of a training in TFLOP/s: half of the float32 peak that NVIDIA states for an 80 GB A100."""
MAX_TFLOPS = 1e6
MAX_LABELS = 255


def check_size(value: str | None) -> str | None:
    """Check an image size before torch is imported."""
    if value is not None:
        parse_size(value)
    return value


def cost(
    generator: Annotated[
        str | None,
        typer.Argument(
            help="Architecture and spec, e.g. wdcgan:16_8_16_4 or resnet_9blocks:ngf=64.", callback=one_line()
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Image size in pixels; default: the family's.", callback=check_size),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(metavar="C", help="Image channels; default: the family's.", callback=between(1, MAX_CHANNELS)),
    ] = None,
    training: Annotated[
        bool,
        typer.Option(
            "--training", help="Count the trainings of params.yaml, or of --recipe, instead of one architecture."
        ),
    ] = False,
    tflops: Annotated[
        float,
        typer.Option(
            help="With --training: assumed speed of the device, in 10^12 operations per second.",
            callback=between(1e-6, MAX_TFLOPS),
        ),
    ] = TFLOPS,
    label_classes: Annotated[
        int | None,
        typer.Option(
            help="With --training: number of classes of label maps; default: that of a published data set.",
            callback=between(1, MAX_LABELS),
        ),
    ] = None,
    recipe: Recipe = None,
    set_: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Print the parameters, MACs and bytes of an architecture, or the hours and memory of trainings, without training
    anything.
    """
    if training == (generator is not None):
        raise ConfigError("`ganpress cost` needs the name of an architecture or --training, and not both")
    if not training and (recipe is not None or set_):
        raise ConfigError("--recipe and --set belong to `ganpress cost --training`; add it, or leave them out")
    if generator is None:
        _trainings(recipe, set_ or (), tflops, label_classes, as_json)
    else:
        _architecture(generator, size, channels, as_json)


def _architecture(generator: str, size: str | None, channels: int | None, as_json: bool) -> None:
    _check_name(generator)
    from ganpress.performance.generator_cost import named_cost

    found = asdict(named_cost(generator, size, channels))
    if as_json:
        typer.echo(json.dumps({"generator": generator, **found}))
        return
    for name, value in found.items():
        typer.echo(f"{name:<18} {value:>17,}")


def _check_name(generator: str) -> None:
    """Refuse an unknown name before torch is imported, which takes seconds."""
    from models.families import split_name

    try:
        split_name(generator)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _trainings(
    recipe: str | None, settings: Sequence[str], tflops: float, label_classes: int | None, as_json: bool
) -> None:
    """Print one line for each training as soon as it is counted."""
    from flows.environment import find_root
    from flows.worktree import find_workspace

    params = find_workspace(find_root(), recipe, settings).params
    from tasks.shared.training_costs import training_costs

    costs = training_costs(params, label_classes)
    if as_json:
        rows = [_facts(one, tflops) for one in costs]
        typer.echo(json.dumps({"tflops": tflops, "trainings": rows, **_whole(rows)}))
        return
    _line("training", "images", "GFLOP/image", "hours", "GiB")
    rows = []
    for one in costs:
        rows.append(row := _facts(one, tflops))
        work = f"{row['images']:,}", f"{row['gflop_per_image']:,.3f}"
        _line(row["training"], *work, f"{row['hours']:.2f}", _gib(row))
    whole = _whole(rows)
    _line("all; the largest memory", "", "", f"{whole['hours']:.2f}", _gib(whole))
    typer.echo(f"hours: at an assumed {tflops:g} TFLOP/s, not measured (--tflops); without the judge")
    typer.echo("memory: tensors in float32 only; the device's libraries and allocator need more")


def _line(training: str, images: str, work: str, hours: str, memory: str) -> None:
    typer.echo(f"{training:<28} {images:>12} {work:>12} {hours:>9} {memory:>8}")


def _gib(facts: dict[str, Any]) -> str:
    return f"{facts['peak_bytes'] / 2**30:.2f}"


def _facts(one: "TrainingCost", tflops: float) -> dict[str, Any]:
    return {
        "training": one.name,
        "images": one.images,
        "gflop_per_image": one.step.flops_per_image / 1e9,
        "hours": one.flops / (tflops * 1e12) / 3600,
        "peak_bytes": one.step.peak_bytes,
    }


def _whole(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"hours": sum(row["hours"] for row in rows), "peak_bytes": max(row["peak_bytes"] for row in rows)}
