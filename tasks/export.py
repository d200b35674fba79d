"""Stage `export`: a file for an edge target, verified against torch, with its card."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ganpress.config.edge_section import ExportConfig, ExportItem
from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.generator_inputs import inputs_digest, open_inputs
from ganpress.edge.file_writing import pack_files
from ganpress.edge.forms.choice import WrittenForm, write_faster_form
from ganpress.edge.proof.card_writing import TargetFacts, write_card
from ganpress.edge.proof.edge_card import Card, CompressionCard, KernelsCard, Lineage, QuantizationCard, SpeedCard
from ganpress.edge.proof.peak_memory import peak_memory
from ganpress.edge.proof.verification import Verification, verify_export
from ganpress.edge.targets.target import Target, require_installed
from ganpress.errors import DataError, ExportMismatch, shown
from ganpress.files.checkpoint import file_digest
from ganpress.files.edge_files import edge_name
from ganpress.files.plain_values import read_json
from ganpress.performance.latency import measure_latency
from ganpress.registries import TARGETS
from ganpress.tracking import StageRun
from models.builders import in_floats
from models.quantized import CalibrationRecord
from models.quantized_network import QuantizedNetwork
from tasks.shared.item_generators import load_generator
from tasks.shared.previous_outputs import keeps_former
from tasks.shared.stage import Stage, stage_main

ENOUGH_SNR_DB = 15.0
"""Of a generator with floats between its integer layers, runtime against simulation; see `verify_export`.

Each layer alone is equal to the bit; the published horse2zebra generator, the most sensitive one seen, reaches 19 dB
through its 41 instance normalisations. A graph that computes something else stays around 0 dB.
"""
THREADS = 1
"""Of the latency in the card: comparable between machines."""
WITHOUT_TEACHER = ("candidate/", "control/")
NEEDED_OF_RECORD = ("source", "sparsity", "weight_scheme", "activation_scheme")
"""Without these a compression.json is damaged."""


@keeps_former
def work(stage: Stage, run: StageRun) -> None:
    """Export one generator; a file that differs from torch by more than the tolerance ends the stage."""
    config = stage.section(ExportConfig)
    item = stage.chosen(config.items)
    target = TARGETS[item.target]
    require_installed(target)
    source = stage.artifact(item.generator) / "generator.safetensors"
    model, blueprint = load_generator(stage, item.generator)
    run.uses_model(source)
    prepared = stage.artifact("prepare")
    inputs = open_inputs(prepared, "test").draw(stage.seed, "export-verification", config.verification_images)
    lineage = Lineage(
        source=item.generator,
        source_md5=file_digest(source, "md5"),
        builder=blueprint.builder,
        teacher_md5=_teacher_md5(stage, item.generator),
        data_md5=data_digest(prepared),
        compression=_compression(stage, item.generator),
    )
    facts = _write(stage, config, item, target, model, inputs)
    path = facts.files[0]
    proof = _verify(model, facts, inputs, config, target)
    facts = replace(facts, kernels=_kernels(target, path, inputs), speed=_speed(target, path, inputs, config))
    conditioning = read_meta(prepared).conditioning
    card = write_card(path, model, inputs[:1], proof, lineage, conditioning, in_floats(model, blueprint), facts)
    metrics = _metrics(card)
    (stage.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(metrics)
    params = {"generator": item.generator, "target": item.target, "number_type": card.number_type, "form": card.form}
    run.produces_model(path, family=stage.name, params={**params, "tolerance": proof.tolerance}, metrics=metrics)


def _write(
    stage: Stage, config: ExportConfig, item: ExportItem, target: Target, model: nn.Module, inputs: Tensor
) -> TargetFacts:
    """Write the files, in the form that runs faster where the item leaves it open."""
    number_type = "float32" if item.number_type == "auto" else item.number_type
    calibration = None
    if number_type == "int8":
        images = open_inputs(stage.artifact("prepare"), "train")
        calibration = images.draw(stage.seed, "export-calibration", config.calibration_images)
    path, example = stage.out / edge_name(item.target), inputs[:2]
    if item.form == "auto":
        made = write_faster_form(target, model, path, example, number_type, calibration)
    else:
        made = WrittenForm(target.write(model, path, example, number_type, calibration, item.form), item.form)
    files = pack_files(made.files) if item.packed else made.files
    facts = TargetFacts(target.version(), item.target, files, number_type, made.form, made.milliseconds)
    if calibration is None:
        return facts
    record = CalibrationRecord(len(calibration), inputs_digest(calibration), stage.seed)
    bits = {"weight_bits": 8, "activation_bits": 8}
    own = QuantizationCard(**bits, calibration=record, activation_ranges=(), scheme=target.int8_scheme)
    return replace(facts, quantization=own)


def _verify(model: nn.Module, facts: TargetFacts, inputs: Tensor, config: ExportConfig, target: Target) -> Verification:
    if facts.number_type != "float32":
        enough = config.min_snr_db
    else:
        enough = ENOUGH_SNR_DB if isinstance(model, QuantizedNetwork) else math.inf
    tolerance = allowed_error(model, config.tolerance)
    try:
        return verify_export(model, facts.files[0], inputs, tolerance, enough_snr_db=enough, target=target)
    except ExportMismatch:
        for path in facts.files:
            path.unlink()  # nobody should pick up a file that failed
        raise


def _kernels(target: Target, path: Path, inputs: Tensor) -> KernelsCard:
    profile = target.kernels(path, inputs[:1])
    return KernelsCard(summary=profile.describe(), layers=profile.layers, integer_layers=profile.integer_layers)


def _speed(target: Target, path: Path, inputs: Tensor, config: ExportConfig) -> SpeedCard:
    runner = target.open(path, THREADS)
    latency = measure_latency({"file": runner}, inputs[:1], config.latency_rounds, THREADS)["file"]
    return SpeedCard(
        latency_ms_p50=latency.p50_ms,
        latency_ms_p95=latency.p95_ms,
        rounds=latency.rounds,
        peak_memory_bytes=peak_memory(target.name, path, inputs[:1]),
    )


def allowed_error(model: nn.Module, tolerance: float) -> float:
    """The tolerance, and for integers at least one step of the output: a kernel may round a tie the other way."""
    return max(tolerance, model.output_step) if isinstance(model, QuantizedNetwork) else tolerance


def data_digest(prepared: Path) -> str:
    """md5 of what the generator was trained and checked on: names and digests of the prepared arrays, in order."""
    listing = "".join(f"{path.name} {file_digest(path, 'md5')}\n" for path in sorted(prepared.glob("*.npy")))
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()


def _compression(stage: Stage, reference: str) -> CompressionCard | None:
    """What the stage `compress` did to a generator; None where it has no record."""
    record = _compression_record(stage, reference)
    if record is None:
        return None
    options = record.get("options", {})
    chosen = {name: record[name] for name in ("sparsity", "weight_scheme", "activation_scheme")}
    return CompressionCard(**chosen, options=options, layer_bits=record.get("layer_bits", {}))


def _compression_record(stage: Stage, reference: str) -> dict[str, Any] | None:
    path = stage.artifact(reference) / "compression.json"
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = read_json(path)
        return record | {name: record[name] for name in NEEDED_OF_RECORD}
    except (OSError, KeyError, TypeError, ValueError) as error:
        made_by = reference.replace("/", "@")
        raise DataError(f"{path} is damaged ({shown(error)}); delete it and run `dvc repro {made_by}`") from None


def _teacher_md5(stage: Stage, reference: str) -> str | None:
    record = _compression_record(stage, reference)
    if record is not None:
        reference = record["source"]
    teacher = stage.artifact("teacher") / "generator.safetensors"
    if reference.startswith(WITHOUT_TEACHER) or not teacher.exists():
        return None
    return file_digest(teacher, "md5")


def _metrics(card: Card) -> dict[str, float]:
    metrics: dict[str, float] = {
        "size_bytes": card.size_bytes,
        "max_abs_error": card.verification.max_abs_error,
        "parameters": card.cost.parameters,
        "macs_exact": card.cost.macs_exact,
    }
    if card.packed is not None:
        metrics["decoded_bytes"] = card.packed.size_bytes
    if card.kernels is not None:
        metrics |= {"layers": card.kernels.layers, "integer_layers": card.kernels.integer_layers}
    if card.speed is not None:
        metrics |= {"latency_ms_p50": card.speed.latency_ms_p50, "latency_ms_p95": card.speed.latency_ms_p95}
        if card.speed.peak_memory_bytes is not None:
            metrics["peak_memory_bytes"] = card.speed.peak_memory_bytes
    if card.verification.snr_db is not None:
        metrics["snr_db"] = card.verification.snr_db
    return metrics


if __name__ == "__main__":
    raise SystemExit(stage_main("export", work))
