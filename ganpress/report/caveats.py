"""Writes the limits of a run's numbers as sentences."""

from ganpress.registries import METRICS
from ganpress.report.content import ReportInputs
from ganpress.report.notation import MetricName, write_count


def caveats(inputs: ReportInputs) -> list[str]:
    """Return the limits of this run's numbers, the most serious first."""
    names = [name for base in METRICS if (name := inputs.metric(base)) is not None]
    against_real = [_of_metric(inputs, name) for name in names if name.split and "real" in _needs(name)]
    of_images = [_of_metric(inputs, name) for name in names if _needs(name) and "real" not in _needs(name)]
    found = [*against_real, _one_seed(inputs), _judge(inputs), *of_images, _latency(inputs), _selection(inputs)]
    found += [_compressed(inputs), _macs(inputs), *(_of_metric(inputs, name) for name in names if not _needs(name))]
    return [sentence for sentence in found if sentence]


def _needs(name: MetricName) -> tuple[str, ...]:
    return name.metric.needs if name.metric else ()


def _of_metric(inputs: ReportInputs, name: MetricName) -> str:
    """Return the limit of a metric, in a sentence."""
    metric = name.metric
    if metric is None or (metric.beware_where == "decides" and name != inputs.main_metric):
        return ""
    real = "real train and test images" if name.split == "all" else f"real {name.split} images"
    return metric.beware.format(title=name.title, images=write_count(name.images or 0), real=real)


def _one_seed(inputs: ReportInputs) -> str:
    read = inputs.inputs_noun
    return (
        f"One seed ({inputs.params.seed}): every generator was trained once and measured on one set of {read}. The "
        f"{read} are the same for all, so differences between generators are more precise than the numbers themselves, "
        "but the variation between trainings was not measured."
    )


JUDGES = {
    "classifier": "a small classifier trained on this data set",
    "domains": "a small network that distinguishes this data set's two domains",
    "rotations": "a small network that predicts the rotation of this data set's images",
    "segmenter": "a segmentation network of this data set's label classes",
}


def _judge(inputs: ReportInputs) -> str:
    kind = inputs.params.judge.kind
    if kind == "inception":
        return "Scores are those of Inception features: ImageNet's idea of an image, which suits photographs best."
    if kind == "squeezenet":
        return "Scores are those of SqueezeNet features, not of Inception: they cannot be compared with published FIDs."
    judge = inputs.main_metric.judge or kind
    return (
        f"Scores are those of {JUDGES[kind]} (“{judge}”), not of Inception: they rank generators of this data set and "
        "cannot be compared with scores of another judge."
    )


def _latency(inputs: ReportInputs) -> str:
    if not any("latency_ms_p50" in one.metrics for one in inputs.generators):
        return ""
    targets = [target for one in inputs.in_group("export") if (target := inputs.target(one)) is not None]
    titles = dict.fromkeys(target.title for target in targets if not target.stand_in)
    runtimes = " and ".join(titles) or "their runtimes"
    sentence = (
        "Latency is wall time on one machine, generators timed in turn in one process: trust the ratios. The teacher "
        f"runs in torch, edge files in {runtimes}, so their ratio includes the change of runtime"
    )
    own = inputs.generator("export/teacher")
    if own is not None and own.metrics.get("latency_ratio"):
        sentence += f"; the teacher itself as an edge file gains {own.metrics['latency_ratio']:.2f}×"
    elsewhere = " and ".join(dict.fromkeys(target.title for target in targets if target.stand_in))
    untimed = f" Files for {elsewhere} were not run there, and have no times." if elsewhere else ""
    return f"{sentence}. No phone was measured.{untimed}"


def _selection(inputs: ReportInputs) -> str:
    if inputs.search is None:
        return ""
    return (
        f"The sub-generator is the best of {write_count(len(inputs.search.scored))} by {inputs.search.metric.heading}, "
        "so that score is optimistic; the evaluation's is measured on the test split."
    )


def _compressed(inputs: ReportInputs) -> str:
    if not inputs.in_group("compress"):
        return ""
    return (
        "Compressed generators run in torch as a simulation of integer arithmetic: their latency is meaningless. "
        "Parameters and MACs are those of the plain generator; pruned weights are zero, but still counted and stored."
    )


def _macs(inputs: ReportInputs) -> str:
    if not any("macs_torchprofile" in one.metrics for one in inputs.generators):
        return ""
    return (
        "macs_exact counts what is computed; macs_torchprofile is the convention of published tables, which counts "
        "transposed convolutions at output resolution. Compare within one of them."
    )
