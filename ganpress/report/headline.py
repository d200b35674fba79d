"""The headline: ratios of the best edge file to the teacher."""

from dataclasses import dataclass

from ganpress.report.content import Measured, ReportInputs
from ganpress.report.intervals import difference_of, interval_of
from ganpress.report.notation import (
    MetricName,
    Writer,
    write_bytes,
    write_compact,
    write_milliseconds,
    write_ratio,
    write_score,
    write_share,
)

POOR_TEACHER = 0.5
"""The report warns if the teacher's score is below this share of the way from noise to real images."""
POOR_FID_RATIO = 20
"""The report warns if the teacher's FID is above this multiple of the FID of real images."""
POOR_RECALL = 0.02
"""The report warns if the teacher's recall is below this value, i.e. it has little of the real images' variety."""


@dataclass(frozen=True)
class Tile:
    """One large number, with the values that it compares and the protocol."""

    number: str
    label: str
    detail: str
    protocol: str


@dataclass(frozen=True)
class Headline:
    """The first lines of the report."""

    reference: str | None
    """The best edge file; None if there is none within the budget."""
    sentence: str
    tiles: list[Tile]
    warning: str | None = None
    file: str | None = None
    """Path of the file, relative to the report's folder."""
    sure: str | None = None
    """The significance of the difference to the teacher, in a sentence."""


def headline(inputs: ReportInputs) -> Headline:
    """Compare the best edge file with the teacher."""
    best = inputs.best_edge_file()
    if best is None:
        return Headline(None, _why_none(inputs), [], warning(inputs))
    sentence = f"Ship {best.reference}{_network(inputs, best.reference)}: {_why(inputs)}; "
    sentence += f"the teacher is the torch generator{_network(inputs, 'teacher')} it all started from."
    target = inputs.target(best)
    files = f"on disk, teacher .safetensors to edge {target.suffix if target else 'file'}"
    tiles = [
        _quality_tile(inputs, best, inputs.main_metric),
        *(_quality_tile(inputs, best, metric) for metric in _beside(inputs)),
        _cost_tile(inputs, best, "size_bytes", "smaller file", write_bytes, files),
        _speed_tile(inputs, best),
        _cost_tile(inputs, best, "macs_exact", "fewer MACs", write_compact, "macs_exact of one image"),
        _cost_tile(inputs, best, "parameters", "fewer parameters", write_compact, "weights and biases"),
    ]
    shown = [tile for tile in tiles if tile is not None]
    file = inputs.edge_files.get(best.reference)
    return Headline(best.reference, sentence, shown, warning(inputs), file, _how_sure(inputs, best))


def _how_sure(inputs: ReportInputs, best: Measured) -> str | None:
    """Return whether the difference to the teacher exceeds the draw of images; None if no interval was measured."""
    metrics = (inputs.main_metric, inputs.metric("fid"))
    found = ((one, gap) for one in metrics if one is not None and (gap := difference_of(best, one)) is not None)
    metric, gap = next(found, (None, None))
    if metric is None or gap is None:
        return None
    value, low, high = gap
    ends = f"95 % interval {write_score(low)} to {write_score(high)}".replace("-", "−")
    distance = f"Its {metric.title} differs from the teacher's by {value:+.3f} ({ends})".replace("-", "−", 1)
    if low <= 0 <= high:
        return f"{distance}: over draws of images, the difference is not significant."
    better = (value > 0) == (metric.direction == "higher")
    return f"{distance}: over draws of images, it is {'better' if better else 'worse'}."


def _why(inputs: ReportInputs) -> str:
    """Return how the file was chosen."""
    found, budget = inputs.to_ship(), inputs.params.evaluate.max_bytes
    within = f" within {write_bytes(budget)}" if budget else ""
    if found is None or found.best == found.reference:
        return f"it has the best {inputs.main_metric.title} of the edge files{within}"
    return (
        f"of the edge files{within} whose {inputs.main_metric.title} does not differ significantly "
        f"from the best ({found.best}), it is the smallest"
    )


def _network(inputs: ReportInputs, reference: str) -> str:
    name = inputs.networks.get(reference)
    return f" ({name})" if name else ""


def _why_none(inputs: ReportInputs) -> str:
    edges = inputs.in_group("export")
    if not edges:
        return "No edge file was measured."
    smallest = min(edges, key=lambda one: one.metrics.get("size_bytes", float("inf")))
    size, budget = smallest.metrics.get("size_bytes"), inputs.params.evaluate.max_bytes
    if size is None or budget is None:
        return f"No edge file has a measured {inputs.main_metric.heading}."
    return (
        f"No edge file is within the budget of {write_bytes(budget)} (evaluate.max_bytes): "
        f"the smallest is {smallest.reference} with {write_bytes(size)}."
    )


def _cost_tile(
    inputs: ReportInputs, best: Measured, name: str, label: str, write: Writer, protocol: str
) -> Tile | None:
    teacher, own = inputs.teacher.metrics.get(name), best.metrics.get(name)
    if not teacher or not own:
        return None
    return Tile(write_ratio(teacher / own), label, f"{write(teacher)} → {write(own)}", protocol)


def _speed_tile(inputs: ReportInputs, best: Measured) -> Tile | None:
    teacher, own = inputs.teacher.metrics.get("latency_ms_p50"), best.metrics.get("latency_ms_p50")
    if not teacher or not own:
        return None
    ratio = best.metrics.get("latency_ratio", teacher / own)
    detail = f"{write_milliseconds(teacher)} → {write_milliseconds(own)} ms"
    target = inputs.target(best)
    runtime = target.title if target else "its runtime"
    return Tile(write_ratio(ratio), "faster", detail, f"p50, batch 1, teacher in torch, edge in {runtime}")


def _beside(inputs: ReportInputs) -> list[MetricName]:
    """FID beside the metric that decides, where it was measured."""
    metric = inputs.metric("fid")
    return [metric] if metric is not None and metric != inputs.main_metric else []


def _quality_tile(inputs: ReportInputs, best: Measured, metric: MetricName) -> Tile | None:
    retained, teacher = inputs.retained(best, metric), inputs.teacher.metrics.get(metric.raw)
    if retained is None or teacher is None:
        return None
    if metric.raw not in best.metrics:
        return None
    ends = interval_of(best, metric)
    sure = f" ({write_score(ends[0])} to {write_score(ends[1])})" if ends else ""
    detail = f"{write_score(teacher)} → {write_score(best.metrics[metric.raw])}{sure}"
    real = inputs.data.real_score(metric.base)
    floor = f"; real {real[0].split} images: {write_score(real[1])}" if real else ""
    protocol = metric.protocol + floor
    if metric != inputs.main_metric:  # A share of a distance says little.
        return Tile(
            write_score(best.metrics[metric.raw]), f"{metric.title}, {metric.direction} is better", detail, protocol
        )
    return Tile(write_share(retained), f"of the teacher's {metric.title}", detail, protocol)


def warning(inputs: ReportInputs) -> str | None:
    """Return a warning if the teacher is so poor that shares of its score mean little; None otherwise.

    The Inception Score of noise is 1, so the way from there to real images counts; mIoU starts at 0.
    """
    found = [sentence for sentence in (_short_way(inputs), _far_away(inputs), _collapsed(inputs)) if sentence]
    if not found:
        return None
    return (
        f"The teacher is poor: {'; '.join(found)}. Shares of its score mean little; train the candidates longer first."
    )


def _short_way(inputs: ReportInputs) -> str | None:
    """Return the reason if the main metric covers less than half of the way from the worst score to real images."""
    metric, teacher = inputs.main_metric, inputs.teacher.metrics.get(inputs.main_metric.raw)
    real = inputs.data.real_score(metric.base)
    start = metric.metric.start if metric.metric else None
    if start is None or real is None or teacher is None or real[1] <= start[0]:
        return None
    way = (teacher - start[0]) / (real[1] - start[0])
    if way >= POOR_TEACHER:
        return None
    return (
        f"its {metric.title} of {write_score(teacher)} goes {write_share(way)} of the way from "
        f"{start[1]} ({start[0]}) to real images ({write_score(real[1])})"
    )


def _far_away(inputs: ReportInputs) -> str | None:
    """Return the reason if the teacher's FID is many times that of real images."""
    metric, real = inputs.metric("fid"), inputs.data.real_score("fid")
    teacher = inputs.teacher.metrics.get(metric.raw) if metric else None
    if metric is None or real is None or teacher is None or real[1] <= 0 or teacher <= POOR_FID_RATIO * real[1]:
        return None
    return f"its {metric.title} of {write_score(teacher)} is {teacher / real[1]:.0f} times that of real images"


def _collapsed(inputs: ReportInputs) -> str | None:
    """Return the reason if hardly any real image is near one of the teacher's."""
    metric = inputs.metric("recall")
    teacher = inputs.teacher.metrics.get(metric.raw) if metric else None
    if metric is None or teacher is None or teacher >= POOR_RECALL:
        return None
    return f"its {metric.title.lower()} of {write_score(teacher)} shows that it has almost none of their variety"


def summary(inputs: ReportInputs) -> dict[str, float | str | None]:
    """Return the headline as plain values, for `summary.json` and `dvc metrics`."""
    best, teacher, metric = inputs.best_edge_file(), inputs.teacher, inputs.main_metric
    values: dict[str, float | str | None] = {
        "best_edge_file": best.reference if best else None,
        "generators": len(inputs.generators),
        f"teacher_{metric.raw}": teacher.metrics.get(metric.raw),
    }
    if best is None:
        return values
    values[f"best_edge_{metric.raw}"] = best.metrics[metric.raw]
    values[f"{metric.base}_retained"] = inputs.retained(best, metric)
    for name, ratio in (("parameters", "parameters_ratio"), ("size_bytes", "size_ratio"), ("macs_exact", "macs_ratio")):
        own, whole = best.metrics.get(name), teacher.metrics.get(name)
        values[f"best_edge_{name}"] = own
        values[ratio] = whole / own if own and whole else None
    values["latency_ratio"] = best.metrics.get("latency_ratio")
    return values
