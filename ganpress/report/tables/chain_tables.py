"""Tables of the search's Pareto front, and of each step's gain."""

from collections.abc import Sequence

from ganpress.report.chain_values import SearchOutcome
from ganpress.report.content import ReportInputs
from ganpress.report.gains import BESIDE, Gain
from ganpress.report.notation import Writer, write_bytes, write_compact, write_count, write_milliseconds, write_score
from ganpress.report.tables.grid import Cell, Heading, Row, RowGroup, Table, written

COSTS: tuple[tuple[Heading, Writer], ...] = (
    (Heading("macs_exact", "MACs", "macs_exact"), write_compact),
    (Heading("parameters", "Parameters"), write_count),
    (Heading("size_bytes", "Size", "as float32"), write_bytes),
    (Heading("latency_ms_p50", "p50 ms", "one thread"), write_milliseconds),
)


def front_table(search: SearchOutcome) -> Table:
    """Return the whole Pareto front, the fewest MACs first."""
    metric = search.metric
    costs = [(heading, write) for heading, write in COSTS if heading.key in search.best.costs]
    score = Heading(metric.raw, f"{metric.title} {metric.arrow}", metric.protocol, "", metric.direction == "higher")
    rows = [
        Row(
            one.spec,
            "subnet",
            [
                written(one.score, write_score, search.best.score),
                *(written(one.costs.get(heading.key), write) for heading, write in costs),
            ],
        )
        for one in sorted(search.front, key=lambda one: one.costs["macs_exact"])
    ]
    caption = "Pareto front: sub-generators that no other one dominates"
    return Table("front", caption, [score, *(heading for heading, _ in costs)], [RowGroup("", rows)], "spec")


def gain_table(gains: Sequence[Gain], inputs: ReportInputs) -> Table:
    """Return each comparison with both scores, their difference, and both costs."""
    metric = inputs.main_metric
    title = f"{metric.title} {metric.arrow}"
    headings = [
        Heading("own", title, metric.protocol, "with the step", metric.direction == "higher"),
        Heading("beside", title, "without", "without the step", metric.direction == "higher"),
        Heading("difference", "difference", "with - without", "", metric.direction == "higher"),
        Heading("macs", "MACs", "with"),
        Heading("macs_beside", "MACs", "without"),
    ]
    groups = [
        RowGroup(f"{step.capitalize()}, beside {BESIDE[step]}", [_gain_row(one) for one in gains if one.step == step])
        for step in dict.fromkeys(one.step for one in gains)
    ]
    return Table("gains", f"What each step gains in {metric.heading}", headings, groups)


def _gain_row(gain: Gain) -> Row:
    sign = "+" if gain.difference > 0 else ""
    difference = Cell(sign + write_score(gain.difference), gain.difference, gain.better and gain.certain)
    macs = (one.metrics.get("macs_exact") for one in (gain.one, gain.beside))
    cells = [
        written(gain.value, write_score),
        written(gain.value_beside, write_score),
        difference,
        *(written(value, write_compact) for value in macs),
    ]
    return Row(gain.one.reference, gain.one.group, cells, f"beside {gain.beside.reference}")
