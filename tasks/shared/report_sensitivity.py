"""Reads the scans over layers and bits that compressions recorded."""

from collections.abc import Sequence
from pathlib import Path

from ganpress.errors import DataError
from ganpress.report.layer_sensitivity import Sensitivity
from tasks.shared.report_facts import read_optional


def sensitivities(artifacts: Path, items: Sequence[str]) -> list[Sensitivity]:
    """Return the scan of each compression that made one.

    Raises:
        DataError: if a record is damaged.
    """
    found = []
    for item in items:
        path = artifacts / "compress" / item / "compression.json"
        scan = (read_optional(path) or {}).get("scan")
        if not scan:
            continue
        try:
            found.append(Sensitivity.of(item, scan))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error}); delete it and run `dvc repro compress@{item}`") from None
    return found
