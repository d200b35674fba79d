"""Stage `student@X`: distils a smaller generator from the teacher, from latents or by GAN Compression."""

from torch import nn

from ganpress.config.training_section import StudentConfig, StudentItem
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.arrays import open_split
from ganpress.files.checkpoint import load_model
from ganpress.tracking import StageRun
from ganpress.training.distances.mixed_distance import MixedDistance, features_needed
from ganpress.training.distillation import JointTerm, train_student
from ganpress.training.feature_distillation import distil_translation
from models.builders import Blueprint, width_numbers
from tasks.shared.adversarial import gan_discriminator
from tasks.shared.conditional_stages import data_inputs, distillation_setup
from tasks.shared.generator_training import (
    TrackedTraining,
    deliver,
    fresh,
    load_teacher,
    prepared,
    sized_like,
)
from tasks.shared.rank_processes import training_main
from tasks.shared.stage import Stage


def work(stage: Stage, run: StageRun) -> None:
    """Distil the student of this item."""
    config = stage.section(StudentConfig)
    item = stage.chosen(config.items)
    teacher, teacher_blueprint = load_teacher(stage)
    blueprint = sized_like(stage, item.generator_name, teacher_blueprint)
    teacher_file = stage.artifact("teacher") / "generator.safetensors"
    run.uses_model(teacher_file)
    inputs = [teacher_file, teacher_file.with_name("discriminator.safetensors"), *data_inputs(stage)]
    training = TrackedTraining(stage, run, inputs)
    student = training.start(fresh(stage, blueprint))
    if isinstance(config.training, FeatureDistillation):
        setup = distillation_setup(stage, teacher, config.training, blueprint.builder)
        distilled = distil_translation(student, setup, training.run)
    else:
        joint = _joint_term(stage, config, item, blueprint)
        distance = None if item.distances is None else _distance(stage, item.distances, teacher_blueprint)
        distilled = train_student(student, teacher, config.training, training.run, joint, distance=distance)
    facts = training.note(distilled.curve)
    if item.depth is not None:
        facts["depth"] = item.depth
    params = {"generator": item.generator_name} | item.model_dump() | config.training.model_dump()
    deliver(stage, run, distilled.student, blueprint, facts, params)
    training.forget()


def _joint_term(stage: Stage, config: StudentConfig, item: StudentItem, student: Blueprint) -> JointTerm | None:
    if item.loss == "mse":
        return None
    train_file = prepared(stage) / "train.npy"
    images, adversarial = open_split(train_file.parent, "train"), config.adversarial
    if adversarial.discriminator == "fresh":
        widest = max(width_numbers(student))
        discriminator = fresh(stage, gan_discriminator(adversarial, images.size, images.channels, widest))
    else:
        discriminator = _teachers_discriminator(stage)
    return JointTerm(discriminator, images, adversarial, item.alpha, item.gradient_ratio)


def _distance(stage: Stage, weights: dict[str, float], teacher: Blueprint) -> MixedDistance:
    """Return the mix of distances; a discriminator in it is not the one that the joint loss trains on."""
    where = f"student.items.{stage.item}.distances"
    needed = features_needed(weights, teacher.builder == "imported", where)
    return MixedDistance(weights, _teachers_discriminator(stage) if needed else None)


def _teachers_discriminator(stage: Stage) -> nn.Module:
    path = stage.artifact("teacher") / "discriminator.safetensors"
    return load_model(path, "wdcgan_discriminator")[0].to(stage.device)


if __name__ == "__main__":
    raise SystemExit(training_main("student", work))
