"""Reads the results of `evaluate` for single samples as content of the report."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ganpress.errors import DataError, shown
from ganpress.files.array_files import read_arrays
from ganpress.metrics.images.gray_values import Uint8
from ganpress.metrics.samples.sample_changes import class_shares
from ganpress.report.pictures.step_samples import StepSamples
from tasks.shared.sample_files import PICTURES, TABLE


def step_samples(evaluated: Path, seed: int) -> list[StepSamples]:
    """Read the samples of every step; empty if the evaluation wrote none.

    Args:
        evaluated: Folder of the stage `evaluate`.
        seed: Seed of the intervals of class shares.

    Raises:
        DataError: if a file is damaged.
    """
    table, pictures = evaluated / TABLE, evaluated / PICTURES
    if not table.exists() or not pictures.exists():
        return []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            by_step: dict[str, list[dict[str, str]]] = {}
            for row in csv.DictReader(file):
                by_step.setdefault(row["generator"], []).append(row)
        archive = read_arrays(pictures)
        return [_step(rows, archive, seed) for rows in by_step.values()]
    except (ValueError, KeyError, OSError, TypeError, csv.Error) as error:
        reason = shown(f"{type(error).__name__}: {error}")
        raise DataError(f"{table} or {pictures.name} is damaged ({reason}); run `dvc repro --force evaluate`") from None


def _step(rows: Sequence[Mapping[str, str]], archive: Mapping[str, Uint8], seed: int) -> StepSamples:
    reference = rows[0]["generator"]
    columns = ("feature_distance", "realism_before", "realism_after", "buckets_lost")
    numbers = {name: np.array([float(row[name]) for row in rows]) for name in columns}
    before, after = ([row[name] for row in rows] for name in ("class_before", "class_after"))
    return StepSamples(
        reference,
        rows[0]["made_from"],
        classes=class_shares(before, after, seed) if all(before) else [],
        before=archive[f"{reference}/before"],
        after=archive[f"{reference}/after"],
        **numbers,
    )
