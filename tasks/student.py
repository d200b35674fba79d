"""Stage `student@X`: a smaller generator distilled from the teacher, from latents or by GAN Compression."""

from dataclasses import dataclass

from torch import nn

from ganpress.config.training_section import StudentConfig, StudentItem
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.arrays import open_split
from ganpress.data.prepared.pairs import open_pairs
from ganpress.files.checkpoint import load_model
from ganpress.tracking import StageRun
from ganpress.training.distillation import Distilled, JointTerm, train_student
from ganpress.training.feature_distillation import distil_translation
from ganpress.training.loop import Checkpointing
from models.builders import Blueprint
from tasks.shared.conditional_stages import data_inputs, distilled_taps, teacher_discriminator
from tasks.shared.generator_training import (
    CurveLog,
    checkpointing,
    deliver,
    fresh,
    last_losses,
    load_teacher,
    prepared,
    sized_like,
    write_curve,
)
from tasks.shared.stage import Stage, stage_main


@dataclass(frozen=True)
class Lesson:
    """A fresh student and its teacher."""

    student: nn.Module
    blueprint: Blueprint
    teacher: nn.Module


def work(stage: Stage, run: StageRun) -> None:
    """Distil the student of this item."""
    config = stage.section(StudentConfig)
    item = stage.chosen(config.items)
    teacher, teacher_blueprint = load_teacher(stage)
    blueprint = sized_like(stage, item.generator_name, teacher_blueprint)
    run.uses_model(stage.artifact("teacher") / "generator.pt")
    log = CurveLog(stage, run)
    lesson = Lesson(log.start(fresh(stage, blueprint)), blueprint, teacher)
    resume = _checkpoint(stage)
    distilled = _distil(stage, run, config, item, lesson, resume, log)
    log.complete(distilled.curve)
    write_curve(stage.out / "curves.csv", distilled.curve)
    facts: dict[str, float] = {"train_images": distilled.curve[-1].images} | last_losses(distilled.curve)
    if item.depth is not None:
        facts["depth"] = item.depth
    params = {"generator": item.generator_name} | item.model_dump() | config.training.model_dump()
    deliver(stage, run, distilled.student, blueprint, facts, params)
    resume.path.unlink(missing_ok=True)


def _checkpoint(stage: Stage) -> Checkpointing:
    teacher = stage.artifact("teacher")
    return checkpointing(stage, [teacher / "generator.pt", teacher / "discriminator.pt", *data_inputs(stage)])


def _distil(
    stage: Stage,
    run: StageRun,
    config: StudentConfig,
    item: StudentItem,
    lesson: Lesson,
    resume: Checkpointing,
    log: CurveLog,
) -> Distilled:
    if not isinstance(config.training, FeatureDistillation):
        joint = _joint_term(stage, run, config, item)
        return train_student(
            lesson.student, lesson.teacher, config.training, stage.seed, joint, stage.label, resume, log
        )
    run.uses_data(prepared(stage) / "train.npy")
    return distil_translation(
        lesson.student,
        lesson.teacher,
        teacher_discriminator(stage),
        open_pairs(prepared(stage), "train"),
        config.training,
        distilled_taps(config.training, lesson.blueprint.builder),
        stage.seed,
        stage.label,
        resume,
        log,
    )


def _joint_term(stage: Stage, run: StageRun, config: StudentConfig, item: StudentItem) -> JointTerm | None:
    if item.loss == "mse":
        return None
    train_file = prepared(stage) / "train.npy"
    run.uses_data(train_file)
    discriminator, _ = load_model(stage.artifact("teacher") / "discriminator.pt", "wdcgan_discriminator")
    return JointTerm(discriminator, open_split(train_file.parent, "train"), config.adversarial, item.alpha)


if __name__ == "__main__":
    raise SystemExit(stage_main("student", work))
