"""Distillation of a student from a teacher's images (Aguinaldo et al. 2019, section 3.2)."""

from dataclasses import dataclass

import torch
from torch import nn, optim

from ganpress.basics.device import device_of, moved
from ganpress.basics.ranks import own_rows
from ganpress.config.training_section import DistillationTraining, JointTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.generator_inputs import LatentInputs, TrainingInputs
from ganpress.data.prepared.read_ahead import ahead_for
from ganpress.training.arithmetic import autocast
from ganpress.training.distances.mixed_distance import MixedDistance
from ganpress.training.drawn_pairs import Pairs
from ganpress.training.ema import WeightAverage, recalibrate_batch_norm_
from ganpress.training.gan import CALIBRATION_LATENTS, Adversary
from ganpress.training.loop import CurvePoint, Losses, RandomStream, Stateful, TrainingRun
from ganpress.training.losses import joint_loss, length_ratio
from ganpress.training.schedule import CosineSchedule
from ganpress.training.teacher_images import TeacherImages
from models.family import latent_of

CALIBRATION_NUMBERS = 2**24
"""Largest number of values in all inputs for batch normalisation statistics: 85 pictures of 256 x 256."""


@dataclass(frozen=True)
class JointTerm:
    """The part of the joint loss beyond the distance: a discriminator, real images and the weight alpha."""

    discriminator: nn.Module
    """The teacher's own, trained on with the student, or a fresh one."""
    images: ImageArray
    config: JointTraining
    alpha: float
    gradient_ratio: float | None = None
    """See `StudentItem.gradient_ratio`."""


@dataclass(frozen=True)
class Distilled:
    """The outcome: averaged, calibrated student in eval mode, and the loss curve."""

    student: nn.Module
    curve: list[CurvePoint]


def train_student(
    student: nn.Module,
    teacher: nn.Module | Pairs,
    config: DistillationTraining,
    run: TrainingRun,
    joint: JointTerm | None = None,
    inputs: TrainingInputs | None = None,
    distance: MixedDistance | None = None,
) -> Distilled:
    """Train `student` to make the teacher's image of every input: by a distance alone (eq. 3), or jointly (eq. 4).

    Everything runs on the device that the networks are on.

    Args:
        student: inputs (N, …) -> images (N, C, H, W).
        teacher: the same, changed to eval mode, without gradients; or what it has drawn, on the student's device.
        config: length, batch and rates.
        run: random streams, checkpoint and progress.
        joint: what the joint loss adds.
        inputs: where inputs come from; None: latents of the student's length.
        distance: of the student's images from the teacher's; None: the mean squared error.

    Raises:
        DataError: if the joint loss has fewer images than one batch.
        TrainingDiverged: if a loss is not finite.
    """
    random = run.stream("training")
    distance = distance or MixedDistance({"squared": 1.0})
    if inputs is None:
        inputs = teacher if isinstance(teacher, Pairs) else LatentInputs(latent_of(student))
    lessons = TeacherImages(teacher, config, run, random, inputs)
    student.train().to(memory_format=torch.channels_last)
    optimizer = optim.Adam(student.parameters(), config.learning_rate, (config.beta1, 0.999))
    schedule = CosineSchedule(optimizer, config.learning_rate, config.train_images)
    average = WeightAverage(student, config.ema_half_life_images)
    state: dict[str, Stateful] = {
        "student": student,
        "optimizer": optimizer,
        "average": average,
        "random": RandomStream(random),
    }
    adversary: Adversary | None = None
    if joint is not None:
        rate = joint.config.opponent_learning_rate
        adversary = opponent = Adversary(joint.discriminator, joint.config, random, rate)

        def draw_rest(stream: torch.Generator) -> None:
            opponent.draw(stream, config.batch_size)
            lessons.draw(stream)

        ahead = ahead_for(device_of(student), draw_rest)
        batches = joint.images.random_batches(random, config.batch_size, own_rows(config.batch_size), ahead)
        state |= {"discriminator": joint.discriminator, "discriminator_optimizer": adversary.optimizer}

    def step(images_shown: int) -> Losses:
        schedule.set(images_shown)
        z, wanted = lessons.next_batch()
        with autocast(config, z.device):
            made = student(z).float()
        distilled, losses = distance(made, wanted)
        loss = distilled
        if joint is not None and adversary is not None:
            real = moved(next(batches), made.device, torch.channels_last)
            losses["discriminator_loss"] = adversary.update(real, made.detach())
            adversarial = adversary.generator_loss(made, real)
            losses["adversarial"] = adversarial.detach()
            if joint.gradient_ratio is None:
                loss = joint_loss(adversarial, distilled, joint.alpha)
            else:
                losses["weight"] = joint.gradient_ratio * length_ratio(distilled, adversarial, made)
                loss = distilled + losses["weight"] * adversarial
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update(images_shown + config.batch_size, config.batch_size)
        return losses

    curve = run.train(student, step, state, config)
    stream = run.stream("calibration")
    numbers = inputs.random(run.stream("size of an input"), 1).numel()
    calibration = inputs.random(stream, min(CALIBRATION_LATENTS, max(1, CALIBRATION_NUMBERS // numbers)))
    return Distilled(recalibrate_batch_norm_(average.averaged(student), calibration.to(device_of(student))), curve)
