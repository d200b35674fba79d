"""The inputs of a report as values; `tasks/shared/report_inputs.py` reads them from files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ganpress.config.params import Params
from ganpress.data.prepared.arrays import Conditioning
from ganpress.edge.roofline import Peaks
from ganpress.edge.targets.target import Target
from ganpress.errors import DataError
from ganpress.metrics.gate_verdict import GateVerdict
from ganpress.metrics.ranking import FileToShip, file_to_ship, quality_order
from ganpress.registries import TARGETS
from ganpress.report.chain_values import Curve, SearchOutcome, Selection
from ganpress.report.layer_sensitivity import Sensitivity
from ganpress.report.notation import MetricName, parse_metric_name
from ganpress.report.pictures.step_samples import StepSamples
from ganpress.report.tradeoff import Sweep

Group = Literal["teacher", "student", "control", "subnet", "compress", "export"]
GROUPS: tuple[Group, ...] = ("teacher", "student", "control", "subnet", "compress", "export")


@dataclass(frozen=True)
class Measured:
    """All numbers of one generator."""

    reference: str
    """Folder below artifacts/: `teacher`, `student/d2-mse`, …"""
    metrics: Mapping[str, float]

    @property
    def group(self) -> Group:
        """The stage that produced it."""
        head = self.reference.partition("/")[0]
        for group in GROUPS:
            if group == head:
                return group
        raise DataError(
            f"evaluate/metrics.json holds '{self.reference}'; a generator is one of {', '.join(GROUPS)}, "
            f"or <one of these>/<item>; run `dvc repro evaluate` again"
        )

    @property
    def item(self) -> str:
        """Its name within the stage."""
        return self.reference.partition("/")[2] or self.reference


@dataclass(frozen=True)
class Fact:
    """One row of a list of facts."""

    name: str
    value: str
    note: str = ""
    """Protocol, meaning or limit."""


@dataclass(frozen=True)
class Gallery:
    """Images of several generators for the same latents or sources, uint8 (n, C, H, W) by reference."""

    samples: Mapping[str, NDArray[np.uint8]]
    interpolation: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Images along a walk between two latents; empty for conditional generators."""
    source: NDArray[np.uint8] | None = None
    """Inputs of the samples, (n, C, h, w) images or (n, 1, h, w) label ids; None for latents."""
    truth: NDArray[np.uint8] | None = None
    """Target image of each source; None if there are none."""


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data and the judge that measures on it."""

    prepared: Sequence[Fact] = ()
    validation: Sequence[Fact] = ()
    validation_passed: bool | None = None
    judge: Sequence[Fact] = ()
    conditioning: Conditioning | None = None
    """Input of the generators; None if they read latents."""
    real_scores: Mapping[str, float] = field(default_factory=dict)
    """Scores of real images, by metric name with the protocol: `is_360_test_judge`."""

    def real_score(self, base: str) -> tuple[MetricName, float] | None:
        """Return the score of real images by one metric, e.g. `is`; None if it was not measured."""
        named = [(parse_metric_name(raw), value) for raw, value in self.real_scores.items()]
        return next((one for one in named if one[0].base == base), None)


@dataclass(frozen=True)
class ItemRecord:
    """Facts from the file beside one compressed generator or edge file."""

    item: str
    facts: Sequence[Fact]
    target: str = ""
    """Target on the card of an edge file; empty for a compressed generator."""

    def fact(self, name: str) -> Fact | None:
        """Return the fact of that name, or None."""
        return next((fact for fact in self.facts if fact.name == name), None)


def record_columns(records: Sequence[ItemRecord]) -> list[str]:
    """Names of all facts in the records, in order of appearance."""
    return list(dict.fromkeys(fact.name for record in records for fact in record.facts))


@dataclass(frozen=True)
class ReportInputs:
    """All inputs of the report. Missing parts are None or empty, and their section says so."""

    params: Params
    params_text: str
    """The params.yaml of the run."""
    generators: Sequence[Measured]
    gallery: Gallery
    selection: Selection | None = None
    curves: Sequence[Curve] = ()
    search: SearchOutcome | None = None
    sweep: Sweep | None = None
    data: DataFacts = field(default_factory=DataFacts)
    compressions: Sequence[ItemRecord] = ()
    sensitivities: Sequence[Sensitivity] = ()
    """Sensitivity scans over layers and bits, of the compressions that made one."""
    cards: Sequence[ItemRecord] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    """Network of each reference as `family:spec`, if known."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """md5 of the main file of a reference: `data`, `prepare`, `teacher`, `export/subnet-int8`, …"""
    commit: str | None = None
    """Commit of the checkout in which the report was written; None outside a git repository."""
    edited: bool = False
    """Whether that checkout had changes that were not committed."""
    edge_files: Mapping[str, str] = field(default_factory=dict)
    """Path of the file of each export, relative to the report's folder."""
    machine: Sequence[Fact] = ()
    peaks: Peaks | None = None
    """Peak performance of the machine."""
    steps: Sequence[StepSamples] = ()
    """Changes of single samples by each compression and export."""
    verdict: GateVerdict | None = None
    """Verdict of the gates; None if no limit is set."""
    gates: Sequence[Fact] = ()

    def generator(self, reference: str) -> Measured | None:
        """Return the generator of that reference, or None."""
        return next((one for one in self.generators if one.reference == reference), None)

    @property
    def teacher(self) -> Measured:
        """The teacher's numbers.

        Raises:
            DataError: if it was not measured.
        """
        teacher = self.generator("teacher")
        if teacher is None:
            raise DataError("evaluate/metrics.json holds no 'teacher'; run `dvc repro evaluate` again")
        return teacher

    def target(self, edge: Measured) -> Target | None:
        """Return the target on the card of an edge file; None if it has no card."""
        return next((TARGETS[card.target] for card in self.cards if card.item == edge.item), None)

    def in_group(self, group: Group) -> list[Measured]:
        """Return the generators of one stage, in their order."""
        return [one for one in self.generators if one.group == group]

    def metric_names(self) -> list[MetricName]:
        """Return all metrics that any generator has, in order of appearance."""
        return [
            parse_metric_name(raw) for raw in dict.fromkeys(name for one in self.generators for name in one.metrics)
        ]

    def metric(self, base: str) -> MetricName | None:
        """Return the full name of a quality metric, e.g. of `fid`; None if it was not measured."""
        return next((name for name in self.metric_names() if name.base == base and name.is_measurement), None)

    @property
    def main_metric(self) -> MetricName:
        """The main metric, by which `ganpress compare` ranks as well.

        Raises:
            DataError: if none was measured.
        """
        names = [name.raw for name in self.metric_names()]
        order = quality_order(names)
        for base in order:
            metric = self.metric(base)
            if metric is not None:
                return metric
        found = ", ".join(names) or "none"
        wanted = ", ".join(base.upper() for base in order)
        raise DataError(f"evaluate/metrics.json has none of {wanted}; found: {found}; run `dvc repro evaluate` again")

    @property
    def inputs_noun(self) -> str:
        """The generators' inputs, in the plural: `latents`, `sources` or `label maps`."""
        conditioning = self.data.conditioning
        if conditioning is None:
            return "sources" if self.gallery.source is not None else "latents"
        return "label maps" if conditioning.pairing == "semantic" else "sources"

    def retained(self, one: Measured, metric: MetricName) -> float | None:
        """Return the share of the teacher's score that `one` keeps; None if either was not measured, or the signs
        differ.
        """
        own, teacher = one.metrics.get(metric.raw), self.teacher.metrics.get(metric.raw)
        if own is None or teacher is None or metric.metric is None:
            return None
        share = metric.metric.share(own, teacher)
        return share if share is not None and share >= 0 else None

    def best_edge_file(self) -> Measured | None:
        """Return the edge file to ship; None if there is none within the budget."""
        found = self.to_ship()
        return self.generator(found.reference) if found is not None else None

    def to_ship(self) -> FileToShip | None:
        """Return the choice of `best_edge_file` and how it was made."""
        table = {one.reference: one.metrics for one in self.in_group("export")}
        return file_to_ship(table, self.main_metric.raw, self.params.evaluate.max_bytes)
