"""Stage `subnet`: extracts the best sub-generator as a separate network, bit-exactly, and fine-tunes it if
configured.
"""

from pathlib import Path

import torch
from torch import nn

from ganpress.config.search_section import SearchConfig, SubnetConfig
from ganpress.config.training_section import AnyDistillation
from ganpress.config.translation_section import FeatureDistillation
from ganpress.errors import CheckpointError, DataError, shown
from ganpress.files.checkpoint import save_model
from ganpress.files.plain_values import fit, read_json
from ganpress.tracking import StageRun
from ganpress.training.distillation import Distilled, train_student
from ganpress.training.feature_distillation import distil_translation
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint, subnet_blueprint
from models.elastic import Elastic, Spec, WidthSpace
from tasks.search import calibration_inputs, load_supernet
from tasks.shared.conditional_stages import data_inputs, distillation_setup
from tasks.shared.generator_training import (
    TrackedTraining,
    deliver,
    load_teacher,
    prepared,
    write_curve,
)
from tasks.shared.rank_processes import training_main
from tasks.shared.stage import Stage, require


def work(stage: Stage, run: StageRun) -> None:
    """Extract and optionally fine-tune the best sub-generator."""
    config = stage.section(SubnetConfig)
    supernet_file = require(stage.artifact("supernet") / "supernet.safetensors", "supernet")
    supernet, elastic = load_supernet(supernet_file)
    supernet.to(stage.device)
    spec = _best(require(stage.artifact("search") / "best.json", "search"), supernet.space)
    run.uses_model(supernet_file)
    extracted = _extract(stage, supernet, spec)
    blueprint = subnet_blueprint(elastic, spec)
    save_model(stage.out / "extracted.safetensors", extracted, blueprint)
    params = {"spec": str(spec), "fine_tuned": config.fine_tuning is not None}
    if config.fine_tuning is None:
        write_curve(stage.out / "curves.csv", [])
        deliver(stage, run, extracted, blueprint, {}, params)
        return
    teacher, _ = load_teacher(stage)
    teacher_file = stage.artifact("teacher") / "generator.safetensors"
    run.uses_model(teacher_file)
    inputs = [supernet_file, teacher_file, stage.artifact("search") / "best.json", *data_inputs(stage)]
    training = TrackedTraining(stage, run, inputs)
    tuned = _fine_tune(stage, extracted, blueprint, teacher, config.fine_tuning, training.run)
    facts = training.note(tuned.curve)
    facts["fine_tuning_images"] = facts.pop("train_images")
    deliver(stage, run, tuned.student, blueprint, facts, params)
    training.forget()


def _best(path: Path, space: WidthSpace) -> Spec:
    """Return the spec that the search chose.

    Raises:
        DataError: if its file is damaged or from another supernet.
    """
    try:
        spec = Spec.parse(fit(read_json(path)["spec"], str, "'spec'"), space.places)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = shown(error) if isinstance(error, ValueError) else "a field is missing or wrong"
        raise DataError(f"{path} is damaged ({reason}); run `dvc repro --force search`") from None
    if spec not in space:
        raise DataError(
            f"{path} names {shown(spec)}, which this supernet does not have; run `dvc repro --force search`"
        )
    return spec


def _fine_tune(
    stage: Stage,
    subnet: nn.Module,
    blueprint: Blueprint,
    teacher: nn.Module,
    config: AnyDistillation,
    run: TrainingRun,
) -> Distilled:
    if not isinstance(config, FeatureDistillation):
        return train_student(subnet, teacher, config, run)
    return distil_translation(subnet, distillation_setup(stage, teacher, config, blueprint.builder), run)


@torch.no_grad()
def _extract(stage: Stage, supernet: Elastic, spec: Spec) -> nn.Module:
    """Extract `spec` with the statistics that the search scored it with, and check that it is the same network.

    Raises:
        CheckpointError: if the extracted network's images differ in one bit.
    """
    images = stage.section(SearchConfig, "search").calibration_images
    inputs = calibration_inputs(prepared(stage), stage.seed, images).to(stage.device)
    statistics = supernet.calibrate(inputs, spec)
    extracted = supernet.extract(spec, statistics)
    if not torch.equal(extracted(inputs), supernet(inputs, spec, statistics)):
        raise CheckpointError(f"sub-generator {spec} differs from the supernet it was extracted from; report this")
    return extracted


def trains(stage: Stage) -> bool:
    """Return whether the sub-generator is fine-tuned."""
    return stage.section(SubnetConfig).fine_tuning is not None


if __name__ == "__main__":
    raise SystemExit(training_main("subnet", work, trains))
