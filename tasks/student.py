"""Stage `student@X`: a smaller generator distilled from the teacher, by MSE or by the joint loss."""

from ganpress.checkpoint import load_model
from ganpress.config.training import StudentConfig, StudentItem
from ganpress.data.arrays import open_split
from ganpress.tracking import StageRun
from ganpress.training.distillation import JointTerm, train_student
from models.builders import Blueprint
from tasks.generator_training import CurveLog, checkpointing, deliver, fresh, last_losses, write_curve
from tasks.stage import Stage, require, stage_main


def work(stage: Stage, run: StageRun) -> None:
    """Distil the student of this item."""
    config = stage.section(StudentConfig)
    item = stage.chosen(config.items)
    teacher_file = require(stage.artifact("teacher") / "generator.pt", "teacher")
    teacher, teacher_blueprint = load_model(teacher_file, "wdcgan_generator")
    blueprint = Blueprint("wdcgan_generator", teacher_blueprint.arguments | {"spec": str(item.depth)})
    run.uses_model(teacher_file)
    log = CurveLog(stage, run)
    inputs = [teacher_file, teacher_file.with_name("discriminator.pt"), stage.artifact("prepare") / "train.npy"]
    distilled = train_student(
        log.start(fresh(stage, blueprint)),
        teacher,
        config.training,
        stage.seed,
        _joint_term(stage, run, config, item),
        stage.label,
        resume := checkpointing(stage, inputs),
        log,
    )
    log.complete(distilled.curve)
    write_curve(stage.out / "curves.csv", distilled.curve)
    facts = {"depth": item.depth, "train_images": distilled.curve[-1].images} | last_losses(distilled.curve)
    params = item.model_dump() | config.training.model_dump()
    deliver(stage, run, distilled.student, blueprint, facts, params)
    resume.path.unlink(missing_ok=True)


def _joint_term(stage: Stage, run: StageRun, config: StudentConfig, item: StudentItem) -> JointTerm | None:
    if item.loss == "mse":
        return None
    train_file = require(stage.artifact("prepare") / "train.npy", "prepare")
    run.uses_data(train_file)
    discriminator, _ = load_model(stage.artifact("teacher") / "discriminator.pt", "wdcgan_discriminator")
    return JointTerm(discriminator, open_split(train_file.parent, "train"), config.adversarial, item.alpha)


if __name__ == "__main__":
    raise SystemExit(stage_main("student", work))
