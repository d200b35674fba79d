"""What each step of the chain gains or costs: two generators of one size side by side, by the metric that decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ganpress.metrics.ranking import half_width
from ganpress.report.content import Measured, ReportInputs
from ganpress.report.lineage.network_names import EXTRACTED, base_references
from ganpress.report.notation import MetricName

Step = Literal["distillation", "once for all", "fine-tuning", "compression"]
BESIDE: dict[Step, str] = {
    "distillation": "a generator of the same size that had no teacher",
    "once for all": "a generator of the same size, trained alone",
    "fine-tuning": "the sub-generator as it was extracted",
    "compression": "its source",
}
"""What the other generator of a comparison is."""
SIZE_TOLERANCE = 0.1
"""Largest relative difference in parameters and in MACs of two generators that count as equally large."""


@dataclass(frozen=True)
class Gain:
    """One generator beside the one that lacks the step."""

    step: Step
    one: Measured
    beside: Measured
    metric: MetricName

    @property
    def value(self) -> float:
        """Score of the generator that took the step."""
        return self.one.metrics[self.metric.raw]

    @property
    def value_beside(self) -> float:
        """Score of the other."""
        return self.beside.metrics[self.metric.raw]

    @property
    def difference(self) -> float:
        """Own score minus the other's."""
        return self.value - self.value_beside

    @property
    def better(self) -> bool:
        """Whether the step made it better."""
        return self.metric.better(self.value, self.value_beside)

    @property
    def certain(self) -> bool:
        """Whether the difference is larger than both half intervals, as far as these were measured."""
        return abs(self.difference) > max(half_width(both.metrics, self.metric.raw) for both in (self.one, self.beside))


def gains(inputs: ReportInputs) -> list[Gain]:
    """Every comparison that this run allows, in the order of the chain.

    Distillation: each student, and once for all: the sub-generator as extracted, beside the control of the same size;
    fine-tuning: the sub-generator beside the extracted one; compression: each compressed generator beside its source.
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
    """Put two generators side by side; None where one is absent or has no score."""
    metric = inputs.main_metric
    if one is None or beside is None or not all(metric.raw in both.metrics for both in (one, beside)):
        return None
    return Gain(step, one, beside, metric)


def _same_size(one: Measured | None, others: Sequence[Measured]) -> Measured | None:
    """The other generator that is nearest in parameters and MACs; None where none is within `SIZE_TOLERANCE`."""
    if one is None:
        return None
    apart = {other.reference: _apart(one, other) for other in others}
    near = [other for other in others if apart[other.reference] <= SIZE_TOLERANCE]
    return min(near, key=lambda other: apart[other.reference], default=None)


def _apart(one: Measured, other: Measured) -> float:
    """The larger relative difference of parameters and MACs."""
    ratios = [
        abs(one.metrics[name] / other.metrics[name] - 1) if other.metrics.get(name) and name in one.metrics else 1.0
        for name in ("parameters", "macs_exact")
    ]
    return max(ratios)
