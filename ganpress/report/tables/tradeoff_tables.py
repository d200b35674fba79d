"""The table below the charts of quality against diversity."""

from collections.abc import Mapping

from ganpress.report.notation import Writer, parse_metric_name, write_bytes, write_ratio, write_score, write_share
from ganpress.report.tables.grid import Heading, Row, RowGroup, Table, written
from ganpress.report.tradeoff import Sweep, kept

Column = tuple[Heading, Writer]


def tradeoff_table(sweep: Sweep) -> Table:
    """Return each level's bytes, fidelity, distance to real images, precision and recall; the float generator first."""
    columns = _columns(sweep)
    groups = [RowGroup("In floats", [_row(sweep, sweep.generator, sweep.in_floats, columns)])]
    for clipping in sweep.clippings:
        rows = [_row(sweep, level.name, level.metrics, columns) for level in sweep.by_clipping(clipping)]
        groups.append(RowGroup(f"Clipping: {clipping}", rows))
    caption = f"{sweep.generator} at every level, weights and activations of the same width"
    return Table("sweep", caption, [heading for heading, _ in columns], groups, "level")


def _columns(sweep: Sweep) -> list[Column]:
    """Return headings by the number's key in `_value`; only numbers that were measured have one."""
    columns: list[Column] = [
        (Heading("packed_bytes", "Packed", "file"), write_bytes),
        (Heading("smaller", "smaller", "floats / own", "", True), write_ratio),
        (Heading("snr_db", "SNR dB", "to floats", "difference of the images of the same inputs", True), write_score),
    ]
    distance = sweep.metric("fid")
    if distance is not None:
        metric = parse_metric_name(distance)
        columns.append(
            (Heading(distance, f"{metric.title} {metric.arrow}", metric.protocol, metric.meaning), write_score)
        )
    for test in sweep.tests():
        for name, title in ((test.precision, "Precision"), (test.recall, "Recall")):
            columns.append((Heading(name, f"{title} ↑", test.title, test.protocol, True), write_score))
            columns.append((Heading(f"{name}/kept", "kept", f"own / floats, {test.title}", "", True), write_share))
    return columns


def _row(sweep: Sweep, name: str, metrics: Mapping[str, float], columns: list[Column]) -> Row:
    cells = [written(_value(sweep, metrics, heading.key), write) for heading, write in columns]
    return Row(name, "compress" if metrics is not sweep.in_floats else "subnet", cells)


def _value(sweep: Sweep, metrics: Mapping[str, float], key: str) -> float | None:
    name, slash, _ = key.partition("/")
    if slash:
        return kept(metrics, sweep, name)
    if key == "smaller":
        own, whole = metrics.get("packed_bytes"), sweep.in_floats.get("packed_bytes")
        return whole / own if own and whole else None
    return metrics.get(key)
