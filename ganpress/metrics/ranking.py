"""Chooses the best generator under a budget, from plain numbers and without slow imports."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ganpress.errors import BudgetError, ConfigError
from ganpress.metrics.metric import badness
from ganpress.metrics.metric_names import known_name, read_name

Table = Mapping[str, Mapping[str, float]]
"""Reference of a generator -> metric name -> value, as artifacts/evaluate/metrics.json holds it."""

QUALITY_ORDER = ("is", "fid", "kid")
"""The metric that decides, in this order of preference, when none is named."""
CONDITIONAL_ORDER = ("miou", "fid", "kid", "psnr")
"""The same order for conditional generators; their inputs determine the classes, so IS is not meaningful."""
ALL_TARGETS = re.compile(r"_\d+_all(_|$)")
"""Pattern in the name of a metric against all real images of unpaired data: `fid_120_all_judge`."""


def metric_family(name: str) -> str:
    """A metric's name without its protocol: `fid_1000_test_judge` -> `fid`, `is_1000_judge_std` -> `is_std`."""
    return re.sub(r"_\d.*?(_std|_error|_low|_high)?$", r"\1", name)


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric is better.

    Raises:
        ConfigError: if nothing is known of the metric.
    """
    return known_name(name).direction == "higher"


def direction(name: str) -> str:
    """Return which values of the metric are better, in words: `higher`, `lower` or `nearer to 1`.

    Raises:
        ConfigError: if nothing is known of the metric.
    """
    found = known_name(name).direction
    return "nearer to 1" if found == "equal" else found


def is_cost(name: str) -> bool:
    """Whether the metric is one of size or speed, which holds on any data."""
    found = read_name(name)
    return found is not None and found.metric.is_cost


def is_conditional(names: Collection[str]) -> bool:
    """Whether metrics of these names were measured on generators that draw from sources."""
    found = [(name, read_name(name)) for name in names]
    return any(ALL_TARGETS.search(name) or (one is not None and "truth" in one.metric.needs) for name, one in found)


def quality_order(names: Collection[str]) -> tuple[str, ...]:
    """Families of metrics that may decide among generators that have metrics of these names, the preferred first."""
    return CONDITIONAL_ORDER if is_conditional(names) else QUALITY_ORDER


def find_metric(table: Table, wanted: str | None) -> str:
    """Resolve a metric's name: in full, or by its family (`fid`); None takes the first of `quality_order`.

    Raises:
        ConfigError: if no generator has it.
    """
    names = list(dict.fromkeys(name for row in table.values() for name in row))
    order = (wanted,) if wanted else quality_order(names)
    for one in order:
        found = [name for name in names if name == one] or [name for name in names if metric_family(name) == one]
        if found:
            return found[0]
    raise ConfigError(f"no metric '{wanted or order[0]}'; metrics: {', '.join(sorted(names)) or 'none'}")


def sorted_references(table: Table, metric: str) -> list[str]:
    """References from the best to the worst value of `metric`; those without it come last.

    Raises:
        ConfigError: if no value of the metric is better than another, or nothing is known of it.
    """
    better = known_name(metric).direction
    if better == "none":
        raise ConfigError(
            f"'{metric}' ranks nothing: it says how an image is, not how good, as noise is the sharpest; "
            "sort by vol_ratio (nearest to the teacher's) or by a quality such as is, fid, kid"
        )

    def key(reference: str) -> tuple[bool, float, float]:
        value = table[reference].get(metric)
        missing = value is None or math.isnan(value)
        return missing, 0.0 if value is None or missing else badness(value, better), size_of(table, reference)

    return sorted(table, key=key)


def size_of(table: Table, reference: str) -> float:
    """File size in bytes; infinite if it was not measured."""
    return float(table[reference].get("size_bytes", math.inf))


def within_budget(table: Table, max_bytes: int | None) -> dict[str, Mapping[str, float]]:
    """Keep the generators of at most `max_bytes`; None keeps all.

    Raises:
        BudgetError: if none is left, naming the smallest.
    """
    kept = {
        reference: row
        for reference, row in table.items()
        if max_bytes is None or size_of(table, reference) <= max_bytes
    }
    if not kept and table:
        smallest = min(table, key=lambda reference: size_of(table, reference))
        raise BudgetError(
            f"no generator fits into {max_bytes:,} bytes; the smallest is {smallest} with "
            f"{size_of(table, smallest):,.0f} bytes: raise the budget to that, or compress further"
        )
    return kept


@dataclass(frozen=True)
class FileToShip:
    """The one answer to "which file do I ship?", for report, `compare`, registry, pages of MLflow and demo alike."""

    reference: str
    metric: str
    best: str
    """The edge file with the best value; `reference` is smaller or faster, and as good as can be told."""
    max_bytes: int | None

    @property
    def sentence(self) -> str:
        """The rule, and how it came to this file."""
        within = f" of at most {self.max_bytes:,} bytes" if self.max_bytes is not None else ""
        rule = f"the best edge file{within} by {self.metric}"
        if self.best == self.reference:
            return f"{self.reference} is {rule}"
        return (
            f"{self.reference} is the smallest edge file{within} whose {self.metric} lies inside the interval of the "
            f"best one's, {self.best}"
        )


def file_to_ship(table: Table, metric: str, max_bytes: int | None) -> FileToShip | None:
    """Choose among edge files within the budget: the best by `metric`; differences inside its interval don't count.

    Of the files that are as good as can be told the smallest is taken, of equals in size the fastest.

    Returns:
        None if there is no edge file with this metric within the budget.

    Raises:
        ConfigError: if no value of the metric is better than another, or nothing is known of it.
    """
    edges = {
        reference: row
        for reference, row in table.items()
        if reference.startswith("export/")
        and not math.isnan(row.get(metric, math.nan))
        and (max_bytes is None or size_of(table, reference) <= max_bytes)
    }
    if not edges:
        return None
    best = sorted_references(edges, metric)[0]
    better, spread = known_name(metric).direction, half_width(edges[best], metric)
    limit = badness(edges[best][metric], better) + spread
    equal = [reference for reference, row in edges.items() if badness(row[metric], better) <= limit]
    chosen = min(equal, key=lambda one: (size_of(edges, one), edges[one].get("latency_ms_p50", math.inf), one != best))
    return FileToShip(chosen, metric, best, max_bytes)


def half_width(row: Mapping[str, float], metric: str) -> float:
    """Return the measured uncertainty of a value: half of its interval, else its spread."""
    low, high = row.get(f"{metric}_low"), row.get(f"{metric}_high")
    if low is not None and high is not None and math.isfinite(high - low):
        return abs(high - low) / 2
    return next((row[name] for end in ("_error", "_std") if (name := f"{metric}{end}") in row), 0.0)
