"""What the numbers do not say, as sentences about this very run."""

from ganpress.report.content import ReportInputs
from ganpress.report.notation import write_count


def caveats(inputs: ReportInputs) -> list[str]:
    """Return the limits of this run's numbers, the gravest first."""
    found = [_sample_count(inputs), _one_seed(inputs), _judge(inputs), _inception_score(inputs), _truth(inputs)]
    found += [_latency(inputs), _selection(inputs), _compressed(inputs), _macs(inputs), _sharpness(inputs)]
    return [sentence for sentence in found if sentence]


def _sample_count(inputs: ReportInputs) -> str:
    fid = inputs.metric("fid")
    if fid is None or fid.images is None:
        return ""
    real = "real train and test images" if fid.split == "all" else f"real {fid.split or 'reference'} images"
    return (
        f"FID falls with the number of images ({write_count(fid.images)} here, against all {real}): its bias goes as "
        "1/n and is larger than its spread. Compare only numbers of equal n, split and judge, and never with published "
        "FIDs."
    )


def _one_seed(inputs: ReportInputs) -> str:
    read = inputs.inputs_noun
    return (
        f"One seed ({inputs.params.seed}): every generator was trained once and measured on one set of {read}. The "
        f"{read} are the same for all, which makes differences between generators sharper than the numbers themselves, "
        "but differences between trainings were not measured."
    )


JUDGES = {
    "classifier": "a small classifier trained on this data set",
    "domains": "a small network that tells this data set's two domains apart",
    "rotations": "a small network that tells how far an image of this data set was turned",
    "segmenter": "a segmentation network of this data set's label classes",
}


def _judge(inputs: ReportInputs) -> str:
    kind = inputs.params.judge.kind
    if kind == "inception":
        return "Scores are those of Inception features: ImageNet's idea of an image, which suits photographs best."
    if kind == "squeezenet":
        return "Scores are those of SqueezeNet features, not of Inception: they mean nothing beside published FIDs."
    judge = inputs.main_metric.judge or kind
    return (
        f"Scores are those of {JUDGES[kind]} (“{judge}”), not of Inception: they rank generators of this data set and "
        "mean nothing beside scores of another judge."
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


def _truth(inputs: ReportInputs) -> str:
    if inputs.metric("psnr") is None:
        return ""
    return (
        "PSNR, SSIM and MAE compare with the one true image of each source: where many images would be right they "
        "favour the blurred mean of them. Read them with FID and the pictures."
    )


def _latency(inputs: ReportInputs) -> str:
    if not any("latency_ms_p50" in one.metrics for one in inputs.generators):
        return ""
    targets = [target for one in inputs.in_group("export") if (target := inputs.target(one)) is not None]
    runtimes = " and ".join(dict.fromkeys(target.title for target in targets)) or "their runtimes"
    sentence = (
        "Latency is wall time on one machine, generators timed in turn in one process: trust the ratios. The teacher "
        f"runs in torch, edge files in {runtimes}, so their ratio holds the change of runtime too"
    )
    own = inputs.generator("export/teacher")
    if own is not None and own.metrics.get("latency_ratio"):
        sentence += f"; the teacher itself as an edge file gains {own.metrics['latency_ratio']:.2f}×"
    return f"{sentence}. No phone was measured."


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
