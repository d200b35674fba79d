"""Stage `export`: writes a file for an edge target, verified against torch, with its card."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from ganpress.config.edge_section import ExportConfig, ExportItem
from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Card, CompressionCard, Lineage
from ganpress.edge.proven_export import ExportSettings, proven_export
from ganpress.edge.targets.target import require_installed
from ganpress.errors import DataError, shown
from ganpress.files.checkpoint import file_digest
from ganpress.files.edge_files import edge_name
from ganpress.files.plain_values import read_json
from ganpress.registries import TARGETS
from ganpress.tracking import StageRun
from models.builders import in_floats
from tasks.shared.item_generators import load_generator
from tasks.shared.previous_outputs import keeps_former
from tasks.shared.stage import Stage, stage_main

WITHOUT_TEACHER = ("candidate/", "control/")
NEEDED_OF_RECORD = ("source", "sparsity", "weight_scheme", "activation_scheme")
"""Keys without which a compression.json is damaged."""


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
    run.uses_data(prepared / "test.npy")
    inputs = open_inputs(prepared, "test").draw(stage.seed, "export-verification", config.verification_images)
    lineage = Lineage(
        source=item.generator,
        source_md5=file_digest(source, "md5"),
        builder=blueprint.builder,
        teacher_md5=_teacher_md5(stage, item.generator),
        data_md5=data_digest(prepared),
        compression=_compression(stage, item.generator),
    )
    settings = _settings(config, item)
    calibration = _calibration(stage, config) if target.quantizes(settings.number_type) else None
    name = edge_name(item.target)
    facts, proof = proven_export(target, model, stage.out / name, inputs, settings, calibration, stage.seed)
    path = facts.files[0]
    conditioning = read_meta(prepared).conditioning
    card = write_card(path, model, inputs[:1], proof, lineage, conditioning, in_floats(model, blueprint), facts)
    metrics = _metrics(card)
    (stage.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(metrics)
    params = {"generator": item.generator, "target": item.target, "number_type": card.number_type, "form": card.form}
    run.produces_model(path, family=stage.name, params={**params, "tolerance": proof.tolerance}, metrics=metrics)


def _calibration(stage: Stage, config: ExportConfig) -> Tensor:
    """Return the calibration inputs of the target's own quantizer."""
    images = open_inputs(stage.artifact("prepare"), "train")
    return images.draw(stage.seed, "export-calibration", config.calibration_images)


def _settings(config: ExportConfig, item: ExportItem) -> ExportSettings:
    return ExportSettings(
        number_type="float32" if item.number_type == "auto" else item.number_type,
        form=None if item.form == "auto" else item.form,
        packed=item.packed,
        any_size=item.any_size,
        tolerance=config.tolerance,
        min_snr_db=config.min_snr_db,
        latency_rounds=config.latency_rounds,
    )


def data_digest(prepared: Path) -> str:
    """Return the md5 of the training and test data: names and digests of the prepared arrays, in order."""
    listing = "".join(f"{path.name} {file_digest(path, 'md5')}\n" for path in sorted(prepared.glob("*.npy")))
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()


def _compression(stage: Stage, reference: str) -> CompressionCard | None:
    """Return the record of the stage `compress` for a generator; None if there is none."""
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
