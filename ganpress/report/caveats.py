"""What the numbers do not say, as sentences about this very run."""

from ganpress.report.content import ReportInputs
from ganpress.report.notation import write_count


def caveats(inputs: ReportInputs) -> list[str]:
    """Return the limits of this run's numbers, the gravest first."""
    found = [_sample_count(inputs), _one_seed(inputs), _judge(inputs), _inception_score(inputs), _latency(inputs)]
    found += [_selection(inputs), _compressed(inputs), _macs(inputs), _sharpness(inputs)]
    return [sentence for sentence in found if sentence]


def _sample_count(inputs: ReportInputs) -> str:
    fid = inputs.metric("fid")
    if fid is None or fid.images is None:
        return ""
    return (
        f"FID falls with the number of images ({write_count(fid.images)} here, against all real "
        f"{fid.split or 'reference'} images): its bias goes as 1/n and is larger than its spread. Compare only numbers "
        "of equal n, split and judge, and never with published FIDs."
    )


def _one_seed(inputs: ReportInputs) -> str:
    return (
        f"One seed ({inputs.params.seed}): every generator was trained once and measured on one set of latents. The "
        "latents are the same for all, which makes differences between generators sharper than the numbers themselves, "
        "but differences between trainings were not measured."
    )


def _judge(inputs: ReportInputs) -> str:
    judge = inputs.main_metric.judge or inputs.params.judge.kind
    if inputs.params.judge.kind == "inception":
        return "Scores are those of Inception features: ImageNet's idea of an image, which suits photographs best."
    return (
        f"Scores are those of a small classifier trained on this data set (“{judge}”), not of Inception: they rank "
        "generators of this data set and mean nothing beside scores of another judge."
    )


def _inception_score(inputs: ReportInputs) -> str:
    metric = inputs.main_metric
    if metric.base != "is":
        return ""
    return (
        f"The Inception Score starts at 1 for noise, so a share of {metric.title} is kinder than it sounds; it sees "
        "neither memorised images nor variety within a class. Read it with FID, recall and coverage, and look at the "
        "pictures."
    )


def _latency(inputs: ReportInputs) -> str:
    if not any("latency_ms_p50" in one.metrics for one in inputs.generators):
        return ""
    sentence = (
        "Latency is wall time on one machine, generators timed in turn in one process: trust the ratios. The teacher "
        "runs in torch, edge files in ONNX Runtime, so their ratio holds the change of runtime too"
    )
    own = inputs.generator("export/teacher")
    if own is not None and own.metrics.get("latency_ratio"):
        sentence += f"; the teacher itself as an edge file gains {own.metrics['latency_ratio']:.2f}×"
    return f"{sentence}. No phone was measured."


def _selection(inputs: ReportInputs) -> str:
    if inputs.search is None:
        return ""
    return (
        f"The sub-generator is the best of {write_count(len(inputs.search.scored))} by "
        f"{inputs.search.metric.heading}, so that score is optimistic; the evaluation's is measured on other images."
    )


def _compressed(inputs: ReportInputs) -> str:
    if not inputs.in_group("compress"):
        return ""
    return (
        "Compressed generators run in torch as a simulation of integer arithmetic: their latency says nothing. "
        "Parameters and MACs are those of the plain generator; pruned weights are zero, but still counted and stored."
    )


def _macs(inputs: ReportInputs) -> str:
    if not any("macs_torchprofile" in one.metrics for one in inputs.generators):
        return ""
    return (
        "macs_exact counts what is computed; macs_torchprofile is the convention of published tables, which counts "
        "transposed convolutions at output resolution. Compare within one of them."
    )


def _sharpness(inputs: ReportInputs) -> str:
    if inputs.metric("vol_ratio") is None:
        return ""
    return "Sharpness (VoL ratio) is not a quality: noise raises it, blur lowers it. 1 means as sharp as the teacher."
