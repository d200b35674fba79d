"""Stage `supernet`: distils one once-for-all generator from the teacher."""

import torch
from torch import Tensor

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.config.training_section import SupernetConfig
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.pictures import image_grid, save_png
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import save_model
from ganpress.tracking import StageRun
from ganpress.training.feature_distillation import distil_supernet
from ganpress.training.supernet_training import train_supernet
from ganpress.training.teacher_initialisation import initialise_from_teacher_
from models.builders import Blueprint, elastic_blueprint, elastic_of, subnet_blueprint
from models.elastic import Elastic
from tasks.shared.conditional_stages import data_inputs, distillation_setup
from tasks.shared.generator_training import (
    TrackedTraining,
    canvas,
    fresh,
    grid_inputs,
    load_teacher,
    parameter_count,
    write_json,
)
from tasks.shared.rank_processes import training_main
from tasks.shared.stage import Stage


def work(stage: Stage, run: StageRun) -> None:
    """Distil the supernet and write its artifacts."""
    config = stage.section(SupernetConfig)
    teacher, teacher_blueprint = load_teacher(stage)
    teacher_file = stage.artifact("teacher") / "generator.safetensors"
    blueprint = _blueprint(stage, config, teacher_blueprint)
    supernet = fresh(stage, blueprint)
    assert isinstance(supernet, Elastic)
    if config.initial == "teacher":
        initialise_from_teacher_(supernet, teacher, grid_inputs(stage)[:1].to(stage.device))
    run.uses_model(teacher_file)
    inputs = [teacher_file, teacher_file.with_name("discriminator.safetensors"), *data_inputs(stage)]
    training = TrackedTraining(stage, run, inputs, samples=False)
    if isinstance(config.training, FeatureDistillation):
        builder = subnet_blueprint(blueprint, supernet.space.largest).builder
        setup = distillation_setup(stage, teacher, config.training, builder)
        trained, curve = distil_supernet(supernet, setup, training.run, config.sandwich, config.random_specs)
    else:
        trained, curve = train_supernet(supernet, teacher, config, training.run)
    losses = training.note(curve)
    path = stage.out / "supernet.safetensors"
    save_model(path, trained, blueprint)
    _save_samples(stage, run, trained)
    facts = {
        "parameters": parameter_count(trained),
        "size_bytes": path.stat().st_size,
        "subnets": len(trained.space),
    } | losses
    write_json(stage.out / "metrics.json", facts)
    run.log_metrics(facts)
    run.produces_model(path, family="supernet", params=config.model_dump(), metrics=facts)
    training.forget()


def _blueprint(stage: Stage, config: SupernetConfig, teacher: Blueprint) -> Blueprint:
    """Return the supernet of the configured family, or of the teacher's own network if that was imported.

    Raises:
        ConfigError: if the family or the widths do not fit the data or the teacher.
    """
    try:
        if config.family.partition(":")[0] == "imported":
            return elastic_of(teacher, config.widths)
        return elastic_blueprint(config.family, canvas(stage), config.widths)
    except ValueError as error:
        raise ConfigError(f"supernet: {error}") from None


@torch.no_grad()
def _save_samples(stage: Stage, run: StageRun, supernet: Elastic) -> None:
    """Show the same inputs through the largest (upper half) and the smallest sub-generator (lower half)."""
    x = grid_inputs(stage).to(stage.device)
    halves: list[Tensor] = []
    for spec in (supernet.space.largest, supernet.space.smallest):
        halves.append(supernet(x, spec, supernet.calibrate(x, spec))[: len(x) // 2])
    grid = image_grid(images_to_uint8(torch.cat(halves)).cpu().numpy())
    save_png(stage.out / "samples.png", grid)
    run.log_image("result", grid)


if __name__ == "__main__":
    raise SystemExit(training_main("supernet", work))
