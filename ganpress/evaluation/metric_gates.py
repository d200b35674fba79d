"""Checks measured results against the limits of the section `gates`, with Great Expectations as for the data."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ganpress.config.gates_section import GatesConfig
from ganpress.data.gate.expectations import Check, CheckResult, run_checks
from ganpress.metrics.metric_names import known_name
from ganpress.metrics.ranking import Table, file_to_ship, find_metric
from ganpress.metrics.version_score import Champion, Score

NO_FILE = "no edge file is within evaluate.max_bytes"
CHAMPION = "no_worse_than_champion"
NAMED = 3
"""Largest number of generators that a sentence names."""


@dataclass(frozen=True)
class Measurements:
    """Results that the gates check."""

    table: Table
    """Metrics of each generator by reference."""
    sources: Mapping[str, str]
    """Generator from which each edge file was made."""
    classes: Mapping[str, Mapping[str, int]]
    """Number of pictures of each class that each edge file drew, including classes without any."""
    max_bytes: int | None
    champion: Champion | None
    """The champion; None if there is none or no limit needs it."""


def judge_results(config: GatesConfig, found: Measurements) -> list[CheckResult]:
    """Check measured results against the limits that are set; nothing is done if no limit is set.

    Raises:
        ConfigError: if no suitable deciding metric was measured.
    """
    metric = find_metric(found.table, None)
    ship = file_to_ship(found.table, metric, found.max_bytes)
    shipped = ship.reference if ship is not None else None
    tables: dict[str, list[dict[str, Any]]] = {}
    planned = []

    def plan(name: str, rows: Iterable[tuple[str, float]], limit: str, unit: str = "", **allowed: float) -> None:
        """Check the rows (name, number) of one table; a missing number breaks the limit."""
        tables[name] = [{"name": f"{what} ({_written(number)}{unit})", "found": number} for what, number in rows]
        planned.append(Check(name, name, "ExpectColumnValuesToBeBetween", {"column": "found"} | allowed, limit))

    if (share := config.min_student_share) is not None:
        students = [one for one in found.table if one.startswith("student/") or one == "subnet"]
        rows = [(one, _share(found.table, metric, one, "teacher")) for one in students]
        plan("student_share", rows, f"at least {share:g} of the teacher's {metric}", min_value=share)
    if (share := config.min_shipped_share) is not None:
        rows = [(shipped or NO_FILE, _share(found.table, metric, shipped, "teacher"))]
        plan("shipped_share", rows, f"at least {share:g} of the teacher's {metric}", min_value=share)
    if (share := config.min_file_share) is not None:
        rows = [(one, _share(found.table, metric, one, source)) for one, source in found.sources.items()]
        plan("file_share", rows, f"at least {share:g} of its generator's {metric}", min_value=share)
    if (share := config.min_class_share) is not None:
        rows = [
            (f"class {name} of {one}", count * len(counts) / max(sum(counts.values()), 1))
            for one, counts in found.classes.items()
            for name, count in counts.items()
        ]
        plan("class_share", rows, f"every class has at least {share:g} of an even share", min_value=share)
    if (limit := config.max_latency_ms) is not None:
        latency = found.table[shipped].get("latency_ms_p50", math.inf) if shipped is not None else math.inf
        plan("latency", [(shipped or NO_FILE, latency)], f"at most {limit:g} ms", " ms", max_value=limit)
    if config.champion is not None and found.champion is not None and shipped is not None:
        words, worse = _beside(Score.of_row(found.table[shipped], metric), found.champion)
        tables[CHAMPION] = [{"name": f"{shipped}: {words}", "found": worse}]
        allowed = {"column": "found", "value_set": [False]}
        rule = "no worse than the champion beyond the larger of both intervals"
        planned.append(Check(CHAMPION, CHAMPION, "ExpectColumnValuesToBeInSet", allowed, rule))
    if not planned:
        return []
    import pandas as pd

    frames = {name: pd.DataFrame(rows, columns=["name", "found"]) for name, rows in tables.items()}
    return run_checks(frames, planned)


def sentences(results: Iterable[CheckResult]) -> list[str]:
    """Return a description of each failed check."""
    return [
        f"{one.name} (allowed: {one.limit}; found: {', '.join(one.offenders[:NAMED])}"
        f"{', …' if one.unexpected > NAMED else ''})"
        for one in results
        if not one.success
    ]


def _share(table: Table, metric: str, one: str | None, whole: str) -> float:
    """Return the share of the score of `whole` that `one` keeps; 0 if either was not measured or the signs differ."""
    own, other = (table.get(name or "", {}).get(metric) for name in (one, whole))
    if own is None or other is None:
        return 0.0
    share = known_name(metric).metric.share(own, other)
    return share if share is not None and share >= 0 else 0.0


def _written(number: float) -> str:
    return f"{number:.3g}" if math.isfinite(number) else "not measured"


def _beside(score: Score | None, champion: Champion) -> tuple[str, bool]:
    """Describe how the file to ship compares with the champion, and whether it is worse; scores of different metrics
    or judges cannot be compared.
    """
    named = f"version {champion.version}, {champion.reference}"
    worse = score.is_worse_than(champion.score) if score is not None else None
    if score is None or worse is None:
        return f"cannot be compared with {named}, whose score is {champion.score.metric}", False
    return f"{score.against(champion.score)} ({named})", worse
