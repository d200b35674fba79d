"""Stage `subnet`: the best sub-generator as a network of its own, bit for bit, then fine-tuned if asked for."""

import json

import torch
from torch import nn

from ganpress.checkpoint import load_model, save_model
from ganpress.config.search import SearchConfig, SubnetConfig
from ganpress.errors import CheckpointError
from ganpress.metrics.scoring import draw_latents
from ganpress.tracking import StageRun
from ganpress.training.distillation import train_student
from models.builders import Blueprint
from models.elastic import ElasticWdcganGenerator
from models.wdcgan import WdcganSpec
from tasks.generator_training import CurveLog, checkpointing, deliver, last_losses
from tasks.search import CALIBRATION
from tasks.stage import Stage, require, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Extract and optionally fine-tune the best sub-generator."""
    config = stage.section(SubnetConfig)
    supernet_file = require(stage.artifact("supernet") / "supernet.pt", "supernet")
    supernet, elastic_blueprint = load_model(supernet_file, "elastic_wdcgan_generator")
    assert isinstance(supernet, ElasticWdcganGenerator)
    best = json.loads(require(stage.artifact("search") / "best.json", "search").read_text(encoding="utf-8"))
    spec = WdcganSpec.parse(best["spec"], supernet.space.levels)
    run.uses_model(supernet_file)
    extracted = _extract(stage, supernet, spec)
    shape = {name: elastic_blueprint.arguments[name] for name in ("size", "channels")}
    blueprint = Blueprint("wdcgan_generator", {"spec": str(spec), **shape})
    save_model(stage.out / "extracted.pt", extracted, blueprint)
    params = {"spec": str(spec), "fine_tuned": config.fine_tuning is not None}
    if config.fine_tuning is None:
        deliver(stage, run, extracted, blueprint, {}, params)
        return
    teacher_file = stage.artifact("teacher") / "generator.pt"
    teacher, _ = load_model(teacher_file, "wdcgan_generator")
    run.uses_model(teacher_file)
    log = CurveLog(stage, run)
    resume = checkpointing(stage, [supernet_file, teacher_file, stage.artifact("search") / "best.json"])
    tuned = train_student(
        extracted, teacher, config.fine_tuning, stage.seed, label=stage.label, checkpointing=resume, on_samples=log
    )
    log.complete(tuned.curve)
    facts = {"fine_tuning_images": tuned.curve[-1].images} | last_losses(tuned.curve)
    deliver(stage, run, tuned.student, blueprint, facts, params)
    resume.path.unlink(missing_ok=True)


@torch.no_grad()
def _extract(stage: Stage, supernet: ElasticWdcganGenerator, spec: WdcganSpec) -> nn.Module:
    """Extract `spec` with the statistics that the search scored it with, and check that it is the same network.

    Raises:
        CheckpointError: if the extracted network's images differ in one bit.
    """
    latents = draw_latents(stage.seed, CALIBRATION, stage.section(SearchConfig, "search").calibration_images)
    statistics = supernet.calibrate(latents, spec)
    extracted = supernet.extract(spec, statistics)
    if not torch.equal(extracted(latents), supernet(latents, spec, statistics)):
        raise CheckpointError(f"sub-generator {spec} differs from the supernet it was extracted from; report this")
    return extracted


if __name__ == "__main__":
    raise SystemExit(stage_main("subnet", work))
