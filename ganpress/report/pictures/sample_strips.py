"""Shows single samples before and after compression: the worst ones as pictures, all of them in numbers."""

from collections.abc import Sequence

import numpy as np

from ganpress.metrics.samples.sample_changes import ClassShare
from ganpress.report.content import Fact, ItemRecord, ReportInputs
from ganpress.report.notation import write_score, write_share
from ganpress.report.pictures.image_strips import Strip, row_width, shown_count, strip_png
from ganpress.report.pictures.step_samples import StepSamples

NOTICEABLE = 0.05
"""Smallest change of a step's worst sample, in spreads, for which the step is shown in pictures."""
LISTED = 4
"""Largest number of classes that are named."""


def changed_strips(inputs: ReportInputs) -> list[Strip]:
    """Return two rows of pictures for each step with visible changes: before and after it, the worst samples first."""
    shown = [step for step in inputs.steps if step.feature_distance.max(initial=0) >= NOTICEABLE]
    return [strip for step in shown for strip in _pair(step)]


def _pair(step: StepSamples) -> list[Strip]:
    sides = {"before": step.before, "after": step.after}
    count = shown_count(sides)
    worst = np.sort(step.feature_distance)[::-1][:count]
    notes = {
        "before": f"before {step.reference}",
        "after": f"after; change {write_score(worst[0])} … {write_score(worst[-1])}",
    }
    references = {"before": step.source, "after": step.reference}
    return [
        Strip(
            f"changed-{step.reference.replace('/', '-')}-{side}",
            references[side],
            references[side].partition("/")[0],
            notes[side],
            strip_png(images[:count]),
            row_width(sides, count),
        )
        for side, images in sides.items()
    ]


def step_records(inputs: ReportInputs) -> list[ItemRecord]:
    """Return the changes of samples by each step, as facts."""
    return [ItemRecord(step.reference, _facts(inputs, step)) for step in inputs.steps]


def _facts(inputs: ReportInputs, step: StepSamples) -> list[Fact]:
    mean, worst = step.feature_distance.mean(), np.quantile(step.feature_distance, 0.99)
    facts = [
        Fact("made from", step.source),
        Fact("change", write_score(mean), f"{write_score(worst)} for the worst 1 %"),
    ]
    one = inputs.generator(step.reference)
    for base in ("class_kept", "modes_kept"):
        metric = inputs.metric(base)
        value = one.metrics.get(metric.raw) if one is not None and metric is not None else None
        if metric is not None and value is not None:
            facts.append(Fact(metric.title.lower(), write_share(value)))
    lost = float((step.buckets_lost > 0.5).mean())
    facts.append(Fact("lost neighbourhoods", write_share(lost), "of the samples: over half of their buckets are empty"))
    before, after = (write_score(float(side.mean())) for side in (step.realism_before, step.realism_after))
    facts.append(Fact("likeness to real images", f"{before} → {after}", "1 at a real image, 0.5 at a ball's surface"))
    if step.classes:
        facts.append(Fact("classes beyond chance", _listed(step.changed_classes) or "none"))
    return facts


def _listed(shares: Sequence[ClassShare]) -> str:
    """Name the classes that changed most, with their shares before and after."""
    order = sorted(shares, key=lambda share: -abs(share.difference.estimate))
    text = ", ".join(f"{one.name}: {write_share(one.before)} → {write_share(one.after)}" for one in order[:LISTED])
    return text + (f" and {len(order) - LISTED} more" if len(order) > LISTED else "")
