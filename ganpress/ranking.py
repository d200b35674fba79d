"""Which generator is best under a budget. Plain numbers, no imports that cost time."""

import math
import re
from collections.abc import Collection, Mapping

from ganpress.errors import BudgetError, ConfigError

Table = Mapping[str, Mapping[str, float]]
"""Reference of a generator -> metric name -> value, as artifacts/evaluate/metrics.json holds it."""

HIGHER_IS_BETTER = (
    "is",
    "is_retained",
    "fid_retained",
    "miou",
    "miou_retained",
    "pixel_accuracy",
    "psnr",
    "ssim",
    "ssim_retained",
    "precision",
    "recall",
    "density",
    "coverage",
    "precision_lsh",
    "recall_lsh",
    "precision_lshknn",
    "recall_lshknn",
    "class_kept",
    "modes_kept",
    "accuracy",
    "latency_ratio",
)
EQUAL_IS_BEST = ("vol_ratio",)
"""Ratios to the teacher of what is no quality in itself: the best is 1, and half is as far from it as double."""
UNRANKED = ("vol",)
"""What says how an image is, not how good: noise is sharper than any digit."""
COSTS = ("size_bytes", "parameters", "macs", "latency", "peak_memory")
"""What a metric name starts with if no data set was needed to measure it."""
QUALITY_ORDER = ("is", "fid", "kid")
"""The metric that decides, in this order of preference, when none is named."""
CONDITIONAL_ORDER = ("miou", "fid", "kid", "psnr")
"""The same of conditional generators: what they draw is asked for, so sure and varied classes (IS) are no merit."""
OF_CONDITIONAL = ("miou", "psnr", "ssim")
"""Metrics that only images with a truth of their own have."""
DIFFERENCE = "_difference"
"""End of the family of a difference to the teacher, which is better as the metric itself is: `fid_difference`."""
ALL_TARGETS = re.compile(r"_\d+_all(_|$)")
"""In the name of a metric against the real images of unpaired data: `fid_120_all_judge`."""


def metric_family(name: str) -> str:
    """A metric's name without its protocol: `fid_1000_test_judge` -> `fid`, `is_1000_judge_std` -> `is_std`."""
    return re.sub(r"_\d.*?(_std|_error|_low|_high)?$", r"\1", name)


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the metric is better; unknown metrics count as costs."""
    return metric_family(name).removesuffix(DIFFERENCE) in HIGHER_IS_BETTER


def direction(name: str) -> str:
    """What is better of the metric, in words: `higher`, `lower` or `nearer to 1`."""
    if metric_family(name) in EQUAL_IS_BEST:
        return "nearer to 1"
    return "higher" if higher_is_better(name) else "lower"


def is_cost(name: str) -> bool:
    """Whether the metric is one of size or speed, which holds on any data."""
    return name.startswith(COSTS)


def is_conditional(names: Collection[str]) -> bool:
    """Whether metrics of these names were measured on generators that draw from sources."""
    return any(metric_family(name) in OF_CONDITIONAL or ALL_TARGETS.search(name) for name in names)


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
        ConfigError: if no value of the metric is better than another.
    """
    if metric_family(metric) in UNRANKED:
        raise ConfigError(
            f"'{metric}' ranks nothing: it says how sharp images are, not how good, and noise is the sharpest; "
            "sort by vol_ratio (nearest to the teacher's) or by a quality such as is, fid, kid"
        )

    def key(reference: str) -> tuple[bool, float, float]:
        value = table[reference].get(metric)
        missing = value is None or math.isnan(value)
        return missing, 0.0 if value is None or missing else _badness(metric, value), size_of(table, reference)

    return sorted(table, key=key)


def _badness(metric: str, value: float) -> float:
    """A number that is smaller for a better value."""
    if metric_family(metric) in EQUAL_IS_BEST:
        return abs(math.log(value)) if value > 0 else math.inf
    return -value if higher_is_better(metric) else value


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


def best_reference(table: Table, metric: str, max_bytes: int | None) -> str:
    """The reference with the best `metric` under the budget; of equals the smaller file.

    Raises:
        BudgetError: if none fits.
    """
    kept = within_budget(table, max_bytes)
    return sorted_references(kept, metric)[0]
