"""Reads the results of the stage `sweep` for the report."""

from pathlib import Path

from ganpress.config.sweep_section import SweepConfig
from ganpress.errors import DataError
from ganpress.report.tradeoff import Level, Sweep
from tasks.shared.report_facts import read_optional


def sweep_levels(artifacts: Path, config: SweepConfig) -> Sweep | None:
    """Return every level of params.yaml that was measured; None if none was.

    Raises:
        DataError: if the file is damaged.
    """
    path = artifacts / "sweep" / "metrics.json"
    content = read_optional(path)
    if content is None:
        return None
    try:
        in_floats = _numbers(content["float"])
        measured = {str(item): _numbers(metrics) for item, metrics in content["levels"].items()}
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is damaged ({reason}); run `dvc repro --force sweep`") from None
    order = {clipping: place for place, clipping in enumerate(config.clipping)}
    points = sorted(config.points, key=lambda point: (order[point.clipping], point.bits))
    levels = [Level(point.clipping, point.bits, measured[point.item]) for point in points if point.item in measured]
    return Sweep(config.generator, levels, in_floats) if levels else None


def _numbers(metrics: dict[str, float]) -> dict[str, float]:
    return {str(name): float(value) for name, value in metrics.items()}
