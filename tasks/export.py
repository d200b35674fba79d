"""Stage `export`: an ONNX file, verified against torch, with its card."""

import hashlib
import json
import math
from pathlib import Path

from torch import Tensor, nn

from ganpress.checkpoint import file_digest, load_model
from ganpress.config.edge import ExportConfig
from ganpress.data.arrays import read_meta
from ganpress.data.inputs import open_inputs
from ganpress.edge.card import Card, Lineage, write_card
from ganpress.edge.onnx_export import export_onnx
from ganpress.edge.verification import Verification, verify_export
from ganpress.errors import ExportMismatch
from ganpress.tracking import StageRun
from models.builders import Blueprint
from models.quantized_network import Quantized, QuantizedNetwork
from tasks.stage import Stage, require, stage_main

ENOUGH_SNR_DB = 15.0
"""Of a generator with floats between its integer layers, runtime against simulation; see `verify_export`.

Each layer alone is equal to the bit; the published horse2zebra generator, the most sensitive one seen, reaches 19 dB
through its 41 instance normalisations. A graph that computes something else stays around 0 dB.
"""
WITHOUT_TEACHER = ("candidate/", "control/")


def work(stage: Stage, run: StageRun) -> None:
    """Export one generator; a file that differs from torch by more than the tolerance ends the stage."""
    config = stage.section(ExportConfig)
    reference = stage.chosen(config.items).generator
    source = require(stage.artifact(reference) / "generator.pt", reference.replace("/", "@"))
    model, blueprint = load_model(source)
    run.uses_model(source)
    prepared = stage.artifact("prepare")
    inputs = open_inputs(prepared, "test").draw(stage.seed, "export-verification", config.verification_images)
    path = stage.out / "generator.onnx"
    export_onnx(model, path, inputs)
    proof = _verify(model, path, inputs, allowed_error(model, config.tolerance))
    lineage = Lineage(
        source=reference,
        source_md5=file_digest(source, "md5"),
        builder=blueprint.builder,
        teacher_md5=_teacher_md5(stage, reference),
        data_md5=data_digest(prepared),
    )
    card = write_card(path, model, inputs[:1], proof, lineage, read_meta(prepared).conditioning, _trained(blueprint))
    metrics = _metrics(card)
    (stage.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(metrics)
    params = {"generator": reference, "number_type": card.number_type, "tolerance": proof.tolerance}
    run.produces_model(path, family=stage.name, params=params, metrics=metrics)


def _verify(model: nn.Module, path: Path, inputs: Tensor, tolerance: float) -> Verification:
    try:
        enough = ENOUGH_SNR_DB if isinstance(model, QuantizedNetwork) else math.inf
        return verify_export(model, path, inputs, tolerance, enough_snr_db=enough)
    except ExportMismatch:
        path.unlink()  # nobody should pick up a file that failed
        raise


def allowed_error(model: nn.Module, tolerance: float) -> float:
    """The tolerance, and for integers at least one step of the output: a kernel may round a tie the other way."""
    return max(tolerance, model.output_step) if isinstance(model, Quantized) else tolerance


def _trained(blueprint: Blueprint) -> nn.Module | None:
    """The float architecture behind a quantized generator; None where it is not kept by name."""
    base = blueprint.arguments.get("base") if blueprint.builder == "quantized" else None
    if not isinstance(base, dict) or not isinstance(base["arguments"], dict):
        return None
    return Blueprint(str(base["builder"]), base["arguments"]).build()


def data_digest(prepared: Path) -> str:
    """md5 of what the generator was trained and checked on: names and digests of the prepared arrays, in order."""
    listing = "".join(f"{path.name} {file_digest(path, 'md5')}\n" for path in sorted(prepared.glob("*.npy")))
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()


def _teacher_md5(stage: Stage, reference: str) -> str | None:
    record = stage.artifact(reference) / "compression.json"
    if record.exists():
        reference = json.loads(record.read_text(encoding="utf-8"))["source"]
    teacher = stage.artifact("teacher") / "generator.pt"
    if reference.startswith(WITHOUT_TEACHER) or not teacher.exists():
        return None
    return file_digest(teacher, "md5")


def _metrics(card: Card) -> dict[str, float]:
    metrics = {
        "size_bytes": card.size_bytes,
        "max_abs_error": card.verification.max_abs_error,
        "parameters": card.cost.parameters,
        "macs_exact": card.cost.macs_exact,
    }
    if card.verification.snr_db is not None:
        metrics["snr_db"] = card.verification.snr_db
    return metrics


if __name__ == "__main__":
    raise SystemExit(stage_main("export", work))
