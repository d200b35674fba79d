"""Stage `supernet`: one once-for-all generator distilled from the teacher."""

import torch
from torch import Tensor, nn

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.config.training_section import SupernetConfig
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.pictures import image_grid, save_png
from ganpress.data.prepared.pairs import open_pairs
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import save_model
from ganpress.tracking import StageRun
from ganpress.training.feature_distillation import distil_supernet
from ganpress.training.loop import Checkpointing, CurvePoint
from ganpress.training.supernet_training import train_supernet
from ganpress.training.teacher_initialisation import initialise_from_teacher_
from models.builders import Blueprint, elastic_blueprint, elastic_of, subnet_blueprint
from models.elastic import Elastic
from tasks.shared.conditional_stages import data_inputs, distilled_taps, teacher_discriminator
from tasks.shared.generator_training import (
    CurveLog,
    canvas,
    checkpointing,
    fresh,
    grid_inputs,
    last_losses,
    load_teacher,
    parameter_count,
    prepared,
    write_curve,
    write_json,
)
from tasks.shared.stage import Stage, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Distil the supernet and write its artifacts."""
    config = stage.section(SupernetConfig)
    teacher, teacher_blueprint = load_teacher(stage)
    teacher_file = stage.artifact("teacher") / "generator.pt"
    blueprint = _blueprint(stage, config, teacher_blueprint)
    supernet = fresh(stage, blueprint)
    assert isinstance(supernet, Elastic)
    if config.initial == "teacher":
        initialise_from_teacher_(supernet, teacher, grid_inputs(stage)[:1])
    run.uses_model(teacher_file)
    log = CurveLog(stage, run, samples=False)
    resume = checkpointing(stage, [teacher_file, teacher_file.with_name("discriminator.pt"), *data_inputs(stage)])
    trained, curve = _train(stage, supernet, teacher, blueprint, config, resume, log)
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


def _blueprint(stage: Stage, config: SupernetConfig, teacher: Blueprint) -> Blueprint:
    """The supernet of the family that the parameters name; of the teacher's own network where that was imported.

    Raises:
        ConfigError: if the family or the widths do not fit the data or the teacher.
    """
    try:
        if config.family.partition(":")[0] == "imported":
            return elastic_of(teacher, config.widths)
        return elastic_blueprint(config.family, canvas(stage), config.widths)
    except ValueError as error:
        raise ConfigError(f"supernet: {error}") from None


def _train(
    stage: Stage,
    supernet: Elastic,
    teacher: nn.Module,
    blueprint: Blueprint,
    config: SupernetConfig,
    resume: Checkpointing,
    log: CurveLog,
) -> tuple[Elastic, list[CurvePoint]]:
    if not isinstance(config.training, FeatureDistillation):
        return train_supernet(supernet, teacher, config, stage.seed, stage.label, resume, log)
    builder = subnet_blueprint(blueprint, supernet.space.largest).builder
    return distil_supernet(
        supernet,
        teacher,
        teacher_discriminator(stage),
        open_pairs(prepared(stage), "train"),
        config.training,
        distilled_taps(config.training, builder),
        stage.seed,
        config.sandwich,
        config.random_specs,
        stage.label,
        resume,
        log,
    )


@torch.no_grad()
def _save_samples(stage: Stage, run: StageRun, supernet: Elastic) -> None:
    """Show the same inputs through the largest (upper half) and the smallest sub-generator (lower half)."""
    x = grid_inputs(stage)
    halves: list[Tensor] = []
    for spec in (supernet.space.largest, supernet.space.smallest):
        halves.append(supernet(x, spec, supernet.calibrate(x, spec))[: len(x) // 2])
    grid = image_grid(images_to_uint8(torch.cat(halves)).numpy())
    save_png(stage.out / "samples.png", grid)
    run.log_image("result", grid)


if __name__ == "__main__":
    raise SystemExit(stage_main("supernet", work))
