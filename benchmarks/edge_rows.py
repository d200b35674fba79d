"""Rows of the edge benchmark: one generator in one runtime and number type, at one batch size."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.edge_subjects import Subject
from benchmarks.edge_timing import time_in_turn
from ganpress.compression.quantization import quantize
from ganpress.edge.roofline import Peaks, computed_in
from ganpress.edge.targets.target import Target
from ganpress.errors import GanpressError
from ganpress.files.frames import frame_of
from ganpress.metrics.fidelity import batches_of
from ganpress.metrics.scoring import Generate
from ganpress.registries import TARGETS

logger = logging.getLogger(__name__)

EAGER = "torch eager"
OWN = "w8a8"
"""Integers that ganpress chose; `int8` are those of the runtime's own quantizer."""


@dataclass(frozen=True)
class Row:
    """What was measured."""

    subject: str
    runtime: str
    number_type: str
    batch: int
    macs: int
    """Of one image."""
    latency_ms: float | None
    """Median of a call; None where `note` says why there is no such file, or where its runtime does not run here."""
    speed_up: float | None = None
    """Over eager torch, same generator and batch."""
    size_bytes: int | None = None
    size_ratio: float | None = None
    """float32 parameters over all files."""
    packed_bytes: int | None = None
    """Of the same files packed, see `ganpress.files.frames`; integers alone."""
    packed_ratio: float | None = None
    snr_db: float | None = None
    """Of the images, over those of eager torch, on inputs that the ranges were not measured on."""
    psnr_db: float | None = None
    peak_share: float | None = None
    """MAC/s that are the generator's own, over the machine's peak for the number type."""
    metric: float | None = None
    metric_retained: float | None = None
    integer_layers: str = ""
    """`5 of 5`, from the runtime's own profile."""
    note: str = ""


@dataclass(frozen=True)
class Form:
    """A generator as one file, opened."""

    runtime: str
    number_type: str
    generate: Generate
    size_bytes: int
    packed_bytes: int | None
    integer_layers: str
    timed: bool = True
    """Whether its own runtime computes it, and no stand-in."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    batches: int | None
    """The first so many batch sizes of each generator; None for all."""
    runtimes: tuple[str, ...]


@dataclass(frozen=True)
class Likeness:
    """How near images are to those of eager torch."""

    snr_db: float | None
    psnr_db: float | None
    """Against the full range of a picture, 2; None for both where there is no difference at all."""


@torch.no_grad()
def measure(subject: Subject, folder: Path, peaks: Peaks, plan: Plan) -> Iterator[Row]:
    """Write one generator for every runtime, and measure all of them in turn, at each batch size."""
    parameter_bytes = 4 * sum(one.numel() for one in subject.model.parameters())
    forms = [Form(EAGER, "float32", subject.model, parameter_bytes, None, "")]
    macs = subject.macs
    for form in _forms(subject, folder, peaks.threads, plan.runtimes):
        if isinstance(form, Form):
            forms.append(form)
        else:
            yield Row(subject.name, *form[:2], batch=1, macs=macs, latency_ms=None, note=form[2])
    likenesses = [compare(subject.model, form.generate, subject.held_out) for form in forms]
    values = [None if subject.metric is None else subject.metric.of(form.generate) for form in forms]
    for batch in subject.batches[: plan.batches]:
        inputs = _repeated(subject.calibration, batch)
        runners = {str(place): form.generate for place, form in enumerate(forms) if form.timed}
        latencies = time_in_turn(runners, inputs, plan.rounds, peaks.threads)
        for place, (form, likeness, value) in enumerate(zip(forms, likenesses, values, strict=True)):
            latency = latencies.get(str(place))
            yield Row(
                subject.name,
                form.runtime,
                form.number_type,
                batch,
                macs,
                latency,
                latencies["0"] / latency if latency is not None else None,
                form.size_bytes,
                parameter_bytes / form.size_bytes,
                form.packed_bytes,
                parameter_bytes / form.packed_bytes if form.packed_bytes is not None else None,
                likeness.snr_db,
                likeness.psnr_db,
                macs * batch / latency / 1e6 / peaks.gmacs(form.number_type) if latency is not None else None,
                value,
                value / values[0] if value is not None and values[0] is not None else None,
                form.integer_layers,
                subject.weights,
            )


def compare(reference: Generate, other: Generate, inputs: Tensor) -> Likeness:
    """Run both on inputs (N, …), batch by batch."""
    signal = noise = 0.0
    pixels = 0
    for part in batches_of(inputs):
        wanted = reference(part).double()
        signal += float(wanted.square().sum())
        noise += float((other(part).double() - wanted).square().sum())
        pixels += wanted.numel()
    if noise == 0:
        return Likeness(None, None)
    return Likeness(10 * math.log10(signal / noise), 10 * math.log10(4 * pixels / noise))


def _forms(
    subject: Subject, folder: Path, threads: int, runtimes: tuple[str, ...]
) -> Iterator[Form | tuple[str, str, str]]:
    """Every form, or (runtime, number type, why there is none)."""
    models: dict[str, nn.Module] = {}
    for runtime, number_type in _wanted(runtimes):
        target = TARGETS[runtime]
        started = time.perf_counter()
        if target.missing() is not None:
            yield runtime, number_type, f"not installed: {target.missing()}"
            continue
        try:
            if number_type == OWN:
                if OWN not in models:
                    models[OWN] = quantize(subject.model, subject.calibration, subject.quantization)
                if not target.can_keep(models[OWN]):
                    continue
            form = _write(target, number_type, models.get(number_type, subject.model), subject, folder, threads)
        except GanpressError as error:
            yield runtime, number_type, " ".join(str(error).split())[:160]
            continue
        logger.info("%s %s %s: %.0f s", subject.name, runtime, number_type, time.perf_counter() - started)
        yield form


def _wanted(runtimes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Runtimes and number types, in the order of the table: the floats of all, then what else each one has."""
    for name in runtimes:
        yield name, "float32"
    for name in runtimes:
        yield name, OWN
        for number_type in TARGETS[name].number_types:
            if number_type != "float32":
                yield name, number_type


def _write(target: Target, number_type: str, model: nn.Module, subject: Subject, folder: Path, threads: int) -> Form:
    path = folder / f"{subject.name}-{target.name}-{number_type}{target.suffix}".replace(" ", "_")
    example = subject.calibration[:2]
    own = "float32" if number_type == OWN else number_type
    files = target.write(model, path, example, own, subject.calibration if target.quantizes(own) else None)
    layers = ""
    if number_type != "float32" and not target.stand_in:
        profile = target.kernels(path, example[:1])
        layers = f"{profile.integer_layers} of {profile.layers}"
    size = sum(file.stat().st_size for file in files)
    packed = sum(len(frame_of(file.read_bytes())) for file in files) if number_type != "float32" else None
    return Form(target.name, number_type, target.open(path, threads), size, packed, layers, not target.stand_in)


def _repeated(inputs: Tensor, count: int) -> Tensor:
    """The first `count` inputs (N, …), from the start again where there are fewer."""
    return inputs[torch.arange(count) % len(inputs)].contiguous()


def fastest(rows: list[Row], subject: str, integers: bool, batch: int = 1) -> Mapping[str, Row]:
    """The fastest row of each runtime, floats or integers; eager torch is a runtime of its own."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.subject != subject or row.batch != batch or row.latency_ms is None:
            continue
        if integers == (computed_in(row.number_type) == "int8"):
            best = found.get(row.runtime)
            if best is None or row.latency_ms < (best.latency_ms or math.inf):
                found[row.runtime] = row
    return found
