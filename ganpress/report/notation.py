"""Formats numbers and metric names for a reader: unit, direction, protocol."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ganpress.metrics.metric import Direction, Metric, badness
from ganpress.metrics.metric_names import read_name

Writer = Callable[[float], str]
MISSING = "–"

_SPREADS = {"std": "std", "error": "std. error", "low": "95 % low", "high": "95 % high"}


@dataclass(frozen=True)
class MetricName:
    """The parts of a metric name: `fid_1000_test_judge` is FID, lower is better, 1000 images, test split, by the
    judge.
    """

    raw: str
    base: str
    """Short name: `is`, `fid`, …; the raw name itself if it is not a quality metric."""
    title: str
    direction: Direction
    meaning: str
    images: int | None = None
    split: str | None = None
    judge: str | None = None
    is_spread: bool = False
    """Whether this is the spread of a metric or an end of its interval, and not the metric itself."""
    is_bound: bool = False
    """Whether this is an end of an interval."""
    aspect: str = ""
    """`difference` for the difference to the teacher, `ceiling` for the score of real images, or empty."""
    metric: Metric | None = None
    """The metric's definition; None if it is not a quality metric."""

    @property
    def is_measurement(self) -> bool:
        """Whether this is the metric itself."""
        return not self.is_spread and not self.aspect

    @property
    def compares(self) -> bool:
        """Whether generated images are compared with other images and not measured alone."""
        return self.metric is not None and bool({"real", "truth", "teacher"} & set(self.metric.needs))

    @property
    def arrow(self) -> str:
        """`↑` if higher is better, `↓` if lower is better."""
        return {"higher": "↑", "lower": "↓"}.get(self.direction, "")

    @property
    def protocol(self) -> str:
        """Sample count, split and judge, for a column heading."""
        parts = [f"{self.images:,} images" if self.images else "", self.split or "", self.judge or ""]
        return " · ".join(part for part in parts if part)

    @property
    def heading(self) -> str:
        """Title, direction and protocol in one line."""
        title = f"{self.title} {self.arrow}".strip()
        return f"{title} ({self.protocol})" if self.protocol else title

    def better(self, value: float, than: float) -> bool:
        """Return whether `value` is better than `than`; False if neither is."""
        return self.direction != "none" and badness(value, self.direction) < badness(than, self.direction)


def parse_metric_name(raw: str) -> MetricName:
    """Read a metric's protocol from its name; the name of any other number is kept as it is."""
    name = read_name(raw)
    if name is None or name.aspect == "retained" or not name.metric.is_quality:
        return MetricName(raw, raw, raw, "none", "")
    metric = name.metric
    title, direction, meaning = metric.title, metric.direction, metric.meaning
    if name.spread:
        title, direction, meaning = f"{title} {_SPREADS[name.spread]}", "none", f"spread of {title}"
    return MetricName(
        raw,
        metric.name,
        title,
        direction,
        meaning,
        name.images,
        name.split,
        name.judge,
        is_spread=bool(name.spread),
        is_bound=name.spread in ("low", "high"),
        aspect=name.aspect,
        metric=metric,
    )


def write_count(value: float) -> str:
    """Write a whole number with thousands: `28,351`."""
    return f"{round(value):,}"


def write_compact(value: float) -> str:
    """Write a magnitude in three figures: `28.4 k`, `1.10 M`, `56.8 G`."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor * 0.9995:
            return _figures(value / factor) + unit
    return _figures(value)


def write_bytes(value: float) -> str:
    """Write a file size in decimal units, as `1 kB` = 1000 bytes."""
    return f"{round(value)} B" if value < 999.5 else f"{write_compact(value)}B"


def write_ratio(value: float) -> str:
    """Write a ratio in three figures: `12.3×`."""
    return f"{write_count(value) if value >= 99.95 else _figures(value)}×"


def write_share(value: float) -> str:
    """Write a share in percent: `98.2 %`."""
    return f"{100 * value:.1f} %"


def write_milliseconds(value: float) -> str:
    """Write milliseconds in three figures."""
    return _figures(value)


def write_score(value: float) -> str:
    """Write a quality metric with three decimals, or with more if they would all be zero."""
    if value == 0 or abs(value) >= 0.0995:
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:.4f}" if abs(value) >= 0.00095 else f"{value:.5f}" if abs(value) >= 0.000095 else f"{value:.1e}"


def _figures(value: float) -> str:
    """Write three significant figures without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    value = float(f"{value:.2e}")  # round first: 9.996 is written like 10.0
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}" if decimals <= 6 else f"{value:.2e}"
