"""Reads the last results of the stage `evaluate`, and chooses the edge file to ship."""

import json
from pathlib import Path

from ganpress.config.base import parse, read_yaml
from ganpress.config.edge_section import ByteBudget
from ganpress.errors import ConfigError, DataError
from ganpress.metrics.ranking import FileToShip, Table, file_to_ship, find_metric

METRICS = Path("artifacts/evaluate/metrics.json")
"""Path of the metrics, relative to the project's root."""


def read_evaluated(root: Path) -> Table:
    """Return the metrics of every generator.

    Raises:
        DataError: if nothing was evaluated yet, or the file is damaged.
    """
    path = root / METRICS
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: nothing was evaluated yet; run `ganpress run` first") from None
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); `dvc checkout` or `ganpress run` restores it") from None
    if not isinstance(table, dict) or not table or not all(isinstance(row, dict) for row in table.values()):
        raise DataError(f"{path} must map generators to metrics; `ganpress run --force --stage evaluate` rewrites it")
    return table


def byte_budget(root: Path) -> int | None:
    """Return `evaluate.max_bytes` of params.yaml; None where there is none.

    Raises:
        ConfigError: if it is no number of bytes.
    """
    path = root / "params.yaml"
    section = read_yaml(path).get("evaluate") if path.is_file() else None
    declared = section.get("max_bytes") if isinstance(section, dict) else None
    return parse({"max_bytes": declared}, ByteBudget, "params.yaml: evaluate").max_bytes


def shipped_of(root: Path) -> FileToShip | None:
    """Return the edge file to ship of a project; None where nothing was evaluated, or nothing fits."""
    if not (root / METRICS).is_file():
        return None
    table = read_evaluated(root)
    try:
        return file_to_ship(table, find_metric(table, None), byte_budget(root))
    except ConfigError:
        return None
