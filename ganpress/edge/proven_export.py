"""Writes a verified edge file: compares it with torch, and profiles and times it in its own runtime."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from ganpress.data.prepared.generator_inputs import inputs_digest
from ganpress.edge.file_writing import pack_files
from ganpress.edge.forms.any_size import free_size, other_size
from ganpress.edge.forms.choice import WrittenForm, write_faster_form
from ganpress.edge.forms.float_forms import Form
from ganpress.edge.proof.card_writing import TargetFacts
from ganpress.edge.proof.device_check import store_check
from ganpress.edge.proof.edge_card import KernelsCard, QuantizationCard, SpeedCard
from ganpress.edge.proof.peak_memory import peak_memory
from ganpress.edge.proof.refused_files import keep_refused, remove_refused
from ganpress.edge.proof.verification import RefusedFile, Verification, verify_export
from ganpress.edge.targets.target import Target
from ganpress.errors import ExportMismatch
from ganpress.performance.latency import WARM_UP, measure_latency
from models.quantized import CalibrationRecord
from models.quantized_network import QuantizedNetwork

ENOUGH_SNR_DB = 15.0
"""Smallest SNR between runtime and simulation of a generator with floats between its integer layers; see
`verify_export`.

Each layer alone is bit-identical; the published horse2zebra generator, the most sensitive one seen, reaches 19 dB
through its 41 instance normalisations. A graph that computes something else stays around 0 dB.
"""
THREADS = 1
"""Number of threads of the latency on the card, which makes machines comparable."""


@dataclass(frozen=True)
class ExportSettings:
    """Settings of writing and verifying a file."""

    number_type: str = "float32"
    """Number type, one of the target's."""
    form: Form | None = None
    """Form of transposed convolutions; None times both and takes the faster one."""
    packed: bool = False
    """Whether each file is kept as a Zstandard frame."""
    tolerance: float = 0.001
    """Largest allowed difference of a pixel to torch, images in [-1, 1]."""
    min_snr_db: float = 15.0
    """Smallest allowed SNR in decibels of a file with fewer bits than its generator."""
    latency_rounds: int = 50
    any_size: bool = False
    """Whether the file accepts pictures of any height and width."""


def proven_export(
    target: Target,
    model: nn.Module,
    path: Path,
    inputs: Tensor,
    settings: ExportSettings,
    calibration: Tensor | None = None,
    seed: int | None = None,
) -> tuple[TargetFacts, Verification]:
    """Write a generator as a file of a target, and verify and time it there.

    Args:
        target: an installed one.
        model: a generator, in floats or quantized.
        path: path of the file; if packed, `.zst` is appended.
        inputs: inputs (N, …) on which torch and the file are compared.
        settings: settings of writing and verifying.
        calibration: inputs (n, …) for the target's own quantization.
        seed: the seed that drew `calibration`, for the card.

    Returns:
        The facts for the card about the file and its verification, starting with the file that is opened.

    Raises:
        ExportMismatch: if it differs from torch; its files are kept under other names, so that nobody picks them up,
            with a picture of the worst image. The next successful export removes them.
        ConfigError: as `Target.write`.
    """
    facts = _write(target, model, path, inputs[:2], settings, calibration, seed)
    proof = _verify(model, facts, inputs, settings, target)
    file = facts.files[0]
    remove_refused(file)
    profile = target.kernels(file, inputs[:1])
    kernels = KernelsCard(summary=profile.describe(), layers=profile.layers, integer_layers=profile.integer_layers)
    if target.stand_in:
        store_check(model, file, inputs, settings.min_snr_db)
        return replace(facts, kernels=kernels), proof
    return replace(facts, kernels=kernels, speed=_speed(target, file, inputs, settings)), proof


def _write(
    target: Target,
    model: nn.Module,
    path: Path,
    example: Tensor,
    settings: ExportSettings,
    calibration: Tensor | None,
    seed: int | None,
) -> TargetFacts:
    """Write the files, in the faster form if none is configured."""
    number_type, form = settings.number_type, settings.form
    if form is None:
        made = write_faster_form(target, model, path, example, number_type, calibration)
    else:
        made = WrittenForm(target.write(model, path, example, number_type, calibration, form), form)
    if settings.any_size:
        free_size(target, model, made, example, number_type)
    files = pack_files(made.files) if settings.packed else made.files
    facts = TargetFacts(target.version(), target.name, files, number_type, made.form, made.milliseconds)
    facts = replace(facts, any_size=settings.any_size)
    if calibration is None:
        return facts
    record = CalibrationRecord(len(calibration), inputs_digest(calibration), seed)
    weights, activations = target.bits(number_type)
    own = QuantizationCard(
        weight_bits=weights,
        activation_bits=activations,
        calibration=record,
        activation_ranges=(),
        scheme=target.scheme(number_type),
    )
    return replace(facts, quantization=own)


def _verify(
    model: nn.Module, facts: TargetFacts, inputs: Tensor, settings: ExportSettings, target: Target
) -> Verification:
    if facts.number_type != "float32":
        enough = settings.min_snr_db
    else:
        enough = ENOUGH_SNR_DB if isinstance(model, QuantizedNetwork) else math.inf
    tolerance = allowed_error(model, settings.tolerance)
    try:
        if settings.any_size:
            others = other_size(model, inputs[:2])
            verify_export(model, facts.files[0], others, tolerance, enough_snr_db=enough, target=target)
        return verify_export(model, facts.files[0], inputs, tolerance, enough_snr_db=enough, target=target)
    except ExportMismatch as error:
        kept = keep_refused(facts.files, error.worst if isinstance(error, RefusedFile) else None)
        raise ExportMismatch(f"{error}. The file is kept as {kept.name} and is not used as an export") from None


def _speed(target: Target, path: Path, inputs: Tensor, settings: ExportSettings) -> SpeedCard:
    runner = target.open(path, THREADS)
    rounds = settings.latency_rounds
    latency = measure_latency({"file": runner}, inputs[:1], rounds, THREADS, min(WARM_UP, rounds))["file"]
    return SpeedCard(
        latency_ms_p50=latency.p50_ms,
        latency_ms_p95=latency.p95_ms,
        rounds=latency.rounds,
        peak_memory_bytes=peak_memory(target.name, path, inputs[:1]),
        arena_bytes=target.arena_bytes(path),
    )


def allowed_error(model: nn.Module, tolerance: float) -> float:
    """Return the tolerance; for integers at least one step of the output, since kernels may round ties differently."""
    return max(tolerance, model.output_step) if isinstance(model, QuantizedNetwork) else tolerance
