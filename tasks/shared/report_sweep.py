"""What the stage `sweep` wrote, for the report."""

from pathlib import Path

from ganpress.config.sweep_section import SweepConfig
from ganpress.errors import DataError
from ganpress.report.tradeoff import Level, Sweep
from tasks.shared.report_facts import read_optional


def sweep_levels(artifacts: Path, config: SweepConfig) -> Sweep | None:
    """Every level of params.yaml that was measured; None where none was.

    Raises:
        DataError: if a file is damaged.
    """
    levels, in_floats = [], {}
    for point in sorted(config.points, key=lambda point: point.bits):
        path = artifacts / "sweep" / point.item / "metrics.json"
        content = read_optional(path)
        if content is None:
            continue
        try:
            in_floats = {str(name): float(value) for name, value in content.pop("float").items()}
            metrics = {str(name): float(value) for name, value in content.items()}
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(f"{path} is damaged ({reason}); delete it and run `dvc repro sweep@{point.item}`") from None
        levels.append(Level(point.clipping, point.bits, metrics))
    order = {clipping: place for place, clipping in enumerate(config.clipping)}
    levels.sort(key=lambda level: order[level.clipping])  # type: ignore[index]  # stable: bits stay ascending
    return Sweep(config.generator, levels, in_floats) if levels else None
