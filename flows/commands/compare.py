"""`ganpress compare`."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from flows.options import AsJson, Recipe, Settings, one_line
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError
from ganpress.metrics.evaluated import byte_budget, read_evaluated
from ganpress.metrics.ranking import (
    Table,
    direction,
    file_to_ship,
    find_metric,
    is_conditional,
    is_cost,
    metric_family,
    sorted_references,
    within_budget,
)

COST_FAMILIES = ("size_bytes", "parameters")
UNCONDITIONAL_FAMILIES = ("is", "is_retained", "fid", "kid", "precision", "recall")
CONDITIONAL_FAMILIES = ("macs_exact", "miou", "miou_retained", "pixel_accuracy", "fid", "fid_retained", "psnr", "ssim")
SPEED_FAMILIES = ("latency_ms_p50",)
METRIC_NAME = 200
SIZE_CHARACTERS = 64
"""Largest number of characters of a metric's name and of a size."""
MAX_SIZE = 2**50
A_SIZE = re.compile(r"\s*[0-9]*\.?[0-9]+\s*[A-Za-z]*\s*")
"""A whole size. The pattern is checked first because pydantic parses only the start of a text: it reads `1,000` as 1
byte."""


def compare(
    sort: Annotated[
        str | None,
        typer.Option(
            help="Metric to sort by, as its full name or its family (`fid`); default: IS, or mIoU or FID for "
            "conditional generators.",
            callback=one_line(METRIC_NAME),
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Largest file, e.g. 100kB, 64KiB, 1.5MB, 90000.", callback=one_line(SIZE_CHARACTERS)),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Show this metric instead of the default columns; repeatable.", callback=one_line(METRIC_NAME)
        ),
    ] = None,
    edge: Annotated[bool, typer.Option("--edge", help="Only edge files.")] = False,
    as_json: AsJson = False,
    recipe: Recipe = None,
    set_: Settings = None,
) -> None:
    """Compare all generators; the first row is the best generator that fits the budget."""
    limit = None if budget is None else parse_bytes(budget)
    root = _root(recipe, list(set_ or ()))
    table = read_evaluated(root)
    if edge:
        table = {reference: row for reference, row in table.items() if reference.startswith("export/")}
    by = find_metric(table, sort)
    kept = within_budget(table, limit)
    order = sorted_references(kept, by)
    ship = file_to_ship(table, by, limit if limit is not None else byte_budget(root)) if not is_cost(by) else None
    columns = [find_metric(table, one) for one in metric] if metric else _default_columns(table, by)
    if as_json:
        rows = [{"generator": reference, **kept[reference]} for reference in order]
        shipped = ship.reference if ship is not None else None
        found = {"sorted_by": by, "best": order[0], "ship": shipped, "generators": rows}
        typer.echo(json.dumps(found, indent=2))
        return
    _show(kept, order, columns, by)
    left_out = len(table) - len(kept)
    more = f"; {left_out} larger than {budget} left out" if left_out else ""
    typer.echo(f"* best of {len(kept)} by {by} ({direction(by)} is better){more}")
    if ship is not None:
        typer.echo(f"ship: {ship.sentence}")


def parse_bytes(text: str) -> int:
    """Read a size: a number with an optional unit; kB and MB are powers of 1000, KiB and MiB of 1024.

    Raises:
        ConfigError: if the text is not a size.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = TypeAdapter(ByteSize).validate_python(text if A_SIZE.fullmatch(text) else "")
    except ValidationError:
        message = f"{quoted(text)} is not a size; write a number with B, kB, KiB, MB or MiB, e.g. 100kB"
        raise ConfigError(message) from None
    if size > MAX_SIZE:
        raise ConfigError(
            f"{quoted(text)} is more than the largest size allowed, {MAX_SIZE:,} bytes; give a smaller size"
        )
    return size


def _root(recipe: str | None, settings: list[str]) -> Path:
    from flows.environment import find_root

    root = find_root()
    if recipe or settings:
        from flows.worktree import find_workspace

        root = find_workspace(root, recipe, settings).root
    return root


def _default_columns(table: Table, by: str) -> list[str]:
    names = list(dict.fromkeys(name for row in table.values() for name in row))
    quality = CONDITIONAL_FAMILIES if is_conditional(names) else UNCONDITIONAL_FAMILIES
    families = (*COST_FAMILIES, *quality, *SPEED_FAMILIES)
    chosen = [name for family in families for name in names if metric_family(name) == family]
    return chosen if by in chosen else [*chosen, by]


def _show(table: Table, order: list[str], columns: list[str], by: str) -> None:
    from flows.console import make_console
    from flows.readable import Line, print_lines

    lines = []
    for place, reference in enumerate(order):
        cells = tuple(_number(table[reference].get(name)) for name in columns)
        lines.append(Line(("* " if place == 0 else "  ") + reference, cells, "bold green" if place == 0 else ""))
    headings = [name.replace("_", " ") for name in columns]
    print_lines(make_console(), "generator", headings, lines, by.replace("_", " "))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.4f}"
