"""Stage `export`: an ONNX file, verified against torch, with its card."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.checkpoint import file_digest, load_model
from ganpress.config.edge import ExportConfig
from ganpress.edge.card import Card, Lineage, write_card
from ganpress.edge.onnx_export import export_onnx
from ganpress.edge.verification import Verification, verify_export
from ganpress.errors import ExportMismatch
from ganpress.seeding import torch_generator
from ganpress.tracking import StageRun
from models.quantized import QuantizedGenerator
from models.wdcgan import LATENT
from tasks.stage import Stage, require, stage_main

WITHOUT_TEACHER = ("candidate/", "control/")


def work(stage: Stage, run: StageRun) -> None:
    """Export one generator; a file that differs from torch by more than the tolerance ends the stage."""
    config = stage.section(ExportConfig)
    reference = stage.chosen(config.items).generator
    source = require(stage.artifact(reference) / "generator.pt", reference.replace("/", "@"))
    model, blueprint = load_model(source)
    run.uses_model(source)
    z = torch.randn(config.verification_images, LATENT, generator=torch_generator(stage.seed, "export", "verification"))
    path = stage.out / "generator.onnx"
    export_onnx(model, path, z)
    proof = _verify(model, path, z, allowed_error(model, config.tolerance))
    lineage = Lineage(
        source=reference,
        source_md5=file_digest(source, "md5"),
        builder=blueprint.builder,
        teacher_md5=_teacher_md5(stage, reference),
    )
    card = write_card(path, model, z[:1], proof, lineage)
    metrics = _metrics(card)
    (stage.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(metrics)
    params = {"generator": reference, "number_type": card.number_type, "tolerance": proof.tolerance}
    run.produces_model(path, family=stage.name, params=params, metrics=metrics)


def _verify(model: nn.Module, path: Path, z: Tensor, tolerance: float) -> Verification:
    try:
        return verify_export(model, path, z, tolerance)
    except ExportMismatch:
        path.unlink()  # nobody should pick up a file that failed
        raise


def allowed_error(model: nn.Module, tolerance: float) -> float:
    """The tolerance, and for integers at least one step of the output: a kernel may round a tie the other way."""
    return max(tolerance, model.output_step) if isinstance(model, QuantizedGenerator) else tolerance


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
