"""Options that several commands share, and bounds of options as callbacks that raise `ConfigError`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ganpress.config.yaml_text import CONTROL, quoted
from ganpress.errors import ConfigError

MAX_TEXT = 4096
MAX_JOBS = 64
"""Largest number of stages that run in parallel."""
MIN_TIMEOUT_S = 0.01
YEAR_S = 366 * 24 * 3600
STAGE_NAME = 160
"""Largest number of characters of a stage's name, including its item."""

MAX_DEVICE = 40
"""Largest number of characters of a device's name."""

MAX_ADDRESS = 300
"""Characters of a cluster's address."""

MAX_GPUS = 64
"""Largest number of GPUs of one training."""

MAX_RETRIES = 100
"""Largest number of retries of one stage."""

Check = Callable[[typer.CallbackParam, Any], Any]


def between(least: float, most: float, unit: str = "") -> Check:
    """Return a callback for integers and floats; NaN is outside all bounds."""

    def check(param: typer.CallbackParam, value: Any) -> Any:
        if value is not None and not least <= value <= most:
            both = f"between {_bound(least)}{unit} and {_bound(most)}{unit}"
            allowed = f"at least {_bound(least)}{unit}" if unit and value < least else both
            raise ConfigError(f"{_name(param)} is {_number(value)}{unit}; it must be {allowed}")
        return value

    return check


def one_line(most: int = MAX_TEXT) -> Check:
    """Return a callback for a text or a list of texts: not empty, on one line, at most `most` characters."""

    def check(param: typer.CallbackParam, value: Any) -> Any:
        for text in value if isinstance(value, list | tuple) else [value]:
            if text is not None:
                check_text(_name(param), str(text), most)
        return value

    return check


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        help="Recipe: the name of a file in recipes/, or a path; its settings override params.yaml.",
        callback=one_line(),
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one setting of params.yaml: section.key=value (YAML); repeatable."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:1 or mps; default: GANPRESS_DEVICE, else a GPU where there is one.",
        callback=one_line(MAX_DEVICE),
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        help="Number of NVIDIA GPUs that each training stage uses; default: GANPRESS_GPUS, else one.",
        callback=between(1, MAX_GPUS),
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="HOST:PORT of a Ray cluster that runs the stages, or local; default: GANPRESS_CLUSTER, else this machine.",
        callback=one_line(MAX_ADDRESS),
    ),
]
Retries = Annotated[
    int,
    typer.Option(
        "--retries",
        help="How often a stage that was killed by a signal is restarted; a stage that failed by itself is "
        "never restarted.",
        callback=between(0, MAX_RETRIES),
    ),
]
StrictVersions = Annotated[
    bool, typer.Option("--strict-versions", help="Treat another version of torch or of a runtime as a change.")
]


def check_text(name: str, text: str, most: int = MAX_TEXT) -> None:
    """Refuse text that is empty, too long, or holds control characters.

    Raises:
        ConfigError: if so; the message names the option or argument.
    """
    if not text.strip():
        raise ConfigError(f"{name} is empty; give it a value or leave it out")
    if len(text) > most:
        raise ConfigError(f"{name} has {len(text):,} characters; it may have at most {most:,}")
    if CONTROL.search(text):
        raise ConfigError(f"{name} holds control characters: {quoted(text)}; leave them out")


def _name(param: typer.CallbackParam) -> str:
    long = [name for name in param.opts if name.startswith("--")]
    return long[0] if long else str(param.metavar or param.name or "the argument")


def _bound(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else quoted(value)
