"""Computes what each step of the chain gains: the main metric of two generators that differ in this step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ganpress.metrics.ranking import half_width
from ganpress.report.content import Measured, ReportInputs
from ganpress.report.lineage.network_names import EXTRACTED, base_references
from ganpress.report.notation import MetricName

Step = Literal["distillation", "once for all", "fine-tuning", "compression"]
BESIDE: dict[Step, str] = {
    "distillation": "a generator of the same size, trained without a teacher",
    "once for all": "a generator of the same size, trained alone",
    "fine-tuning": "the sub-generator as it was extracted",
    "compression": "its source",
}
"""Description of the other generator in each step's comparison."""
SIZE_TOLERANCE = 0.1
"""Largest relative difference in parameters and in MACs of two generators that count as the same size."""


@dataclass(frozen=True)
class Gain:
    """One generator compared with the one that lacks the step."""

    step: Step
    one: Measured
    beside: Measured
    metric: MetricName

    @property
    def value(self) -> float:
        """Score of the generator with the step."""
        return self.one.metrics[self.metric.raw]

    @property
    def value_beside(self) -> float:
        """Score of the other generator."""
        return self.beside.metrics[self.metric.raw]

    @property
    def difference(self) -> float:
        """Score with the step minus score without it."""
        return self.value - self.value_beside

    @property
    def better(self) -> bool:
        """Whether the step improved the score."""
        return self.metric.better(self.value, self.value_beside)

    @property
    def certain(self) -> bool:
        """Whether the difference is larger than both half intervals, as far as these were measured."""
        return abs(self.difference) > max(half_width(both.metrics, self.metric.raw) for both in (self.one, self.beside))


def gains(inputs: ReportInputs) -> list[Gain]:
    """Return every comparison that this run allows, in the order of the chain.

    Distillation compares each student with the control of the same size, and "once for all" the extracted sub-generator
    with it; fine-tuning compares the sub-generator with the extracted one, and compression each compressed generator
    with its source.
    """
    controls = inputs.in_group("control")
    subnet, extracted = inputs.generator("subnet"), inputs.generator(EXTRACTED)
    found = [_gain(inputs, "distillation", one, _same_size(one, controls)) for one in inputs.in_group("student")]
    alone = extracted or subnet
    found.append(_gain(inputs, "once for all", alone, _same_size(alone, controls)))
    found.append(_gain(inputs, "fine-tuning", subnet, extracted))
    bases = base_references(inputs.params)
    for one in inputs.in_group("compress"):
        found.append(_gain(inputs, "compression", one, inputs.generator(bases.get(one.reference, ""))))
    return [gain for gain in found if gain is not None]


def _gain(inputs: ReportInputs, step: Step, one: Measured | None, beside: Measured | None) -> Gain | None:
    """Compare two generators; None if one is missing or has no score."""
    metric = inputs.main_metric
    if one is None or beside is None or not all(metric.raw in both.metrics for both in (one, beside)):
        return None
    return Gain(step, one, beside, metric)


def _same_size(one: Measured | None, others: Sequence[Measured]) -> Measured | None:
    """Return the other generator nearest in parameters and MACs; None if none is within `SIZE_TOLERANCE`."""
    if one is None:
        return None
    apart = {other.reference: _apart(one, other) for other in others}
    near = [other for other in others if apart[other.reference] <= SIZE_TOLERANCE]
    return min(near, key=lambda other: apart[other.reference], default=None)


def _apart(one: Measured, other: Measured) -> float:
    """Return the larger of the relative differences in parameters and MACs."""
    ratios = [
        abs(one.metrics[name] / other.metrics[name] - 1) if other.metrics.get(name) and name in one.metrics else 1.0
        for name in ("parameters", "macs_exact")
    ]
    return max(ratios)
