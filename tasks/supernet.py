"""Stage `supernet`: one once-for-all generator distilled from the teacher."""

import torch

from ganpress.checkpoint import load_model, save_model
from ganpress.config.training import SupernetConfig
from ganpress.data.pictures import image_grid, save_png
from ganpress.pixels import images_to_uint8
from ganpress.tracking import StageRun
from ganpress.training.supernet import train_supernet
from models.builders import Blueprint
from models.elastic import ElasticWdcganGenerator
from tasks.generator_training import (
    CurveLog,
    checkpointing,
    fresh,
    grid_latents,
    last_losses,
    parameter_count,
    write_curve,
    write_json,
)
from tasks.stage import Stage, require, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Distil the supernet and write its artifacts."""
    config = stage.section(SupernetConfig)
    teacher_file = require(stage.artifact("teacher") / "generator.pt", "teacher")
    teacher, teacher_blueprint = load_model(teacher_file, "wdcgan_generator")
    shape = {name: teacher_blueprint.arguments[name] for name in ("size", "channels")}
    blueprint = Blueprint("elastic_wdcgan_generator", {"depths": list(config.depths), **shape})
    supernet = fresh(stage, blueprint)
    assert isinstance(supernet, ElasticWdcganGenerator)
    run.uses_model(teacher_file)
    log = CurveLog(stage, run, samples=False)
    resume = checkpointing(stage, [teacher_file])
    trained, curve = train_supernet(supernet, teacher, config, stage.seed, stage.label, resume, log)
    log.complete(curve)
    path = stage.out / "supernet.pt"
    save_model(path, trained, blueprint)
    write_curve(stage.out / "curves.csv", curve)
    _save_samples(stage, run, trained)
    facts = {
        "parameters": parameter_count(trained),
        "size_bytes": path.stat().st_size,
        "subnets": len(trained.space),
        "train_images": curve[-1].images,
    } | last_losses(curve)
    write_json(stage.out / "metrics.json", facts)
    run.log_metrics(facts)
    run.produces_model(path, family="supernet", params=config.model_dump(), metrics=facts)
    resume.path.unlink(missing_ok=True)


@torch.no_grad()
def _save_samples(stage: Stage, run: StageRun, supernet: ElasticWdcganGenerator) -> None:
    """Show the same latents through the largest (upper half) and the smallest sub-generator (lower half)."""
    z = grid_latents(stage)
    halves = [supernet(z, spec)[: len(z) // 2] for spec in (supernet.space.largest, supernet.space.smallest)]
    grid = image_grid(images_to_uint8(torch.cat(halves)).numpy())
    save_png(stage.out / "samples.png", grid)
    run.log_image("result", grid)


if __name__ == "__main__":
    raise SystemExit(stage_main("supernet", work))
