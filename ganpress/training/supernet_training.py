"""Distillation of a once-for-all generator: every step trains several widths of one set of weights."""

import torch
from torch import nn, optim

from ganpress.config.training_section import DistillationTraining, SupernetConfig
from ganpress.training.arithmetic import autocast
from ganpress.training.ema import WeightAverage
from ganpress.training.loop import CurvePoint, Losses, RandomStream, Stateful, TrainingRun
from ganpress.training.losses import distillation_loss
from ganpress.training.schedule import CosineSchedule
from ganpress.training.teacher_images import TeacherImages
from models.elastic import Elastic, Spec


def train_supernet(
    supernet: Elastic,
    teacher: nn.Module,
    config: SupernetConfig,
    run: TrainingRun,
) -> tuple[Elastic, list[CurvePoint]]:
    """Distil `teacher` into every width of `supernet` (Li et al. 2020, section 3.3).

    Each step draws latents, then widths: uniformly, and with the sandwich rule also the largest and the smallest
    (Yu and Huang 2019), and adds up their losses. Batch norm runs on batch statistics; a chosen sub-generator gets its
    own by `Elastic.calibrate`.

    Returns:
        The supernet with averaged weights in eval mode, and the loss curve.

    Raises:
        TrainingDiverged: if a loss is not finite.
    """
    training_config = config.training
    assert isinstance(training_config, DistillationTraining)  # a section with a framework goes to `distil_supernet`
    random = run.stream("training")
    lessons = TeacherImages(teacher, training_config, run, random)
    supernet.train()
    optimizer = optim.Adam(supernet.parameters(), training_config.learning_rate, (training_config.beta1, 0.999))
    schedule = CosineSchedule(optimizer, training_config.learning_rate, training_config.train_images)
    average = WeightAverage(supernet, training_config.ema_half_life_images)

    def step(images_shown: int) -> Losses:
        schedule.set(images_shown)
        z, wanted = lessons.next_batch()
        optimizer.zero_grad(set_to_none=True)
        losses = {}
        for name, spec in specs_of_step(supernet, config.sandwich, config.random_specs, random):
            with autocast(training_config, z.device):
                made = supernet(z, spec).float()
            loss = distillation_loss(made, wanted)
            loss.backward()
            losses[f"mse_{name}"] = loss.detach()
        optimizer.step()
        average.update(images_shown + training_config.batch_size, training_config.batch_size)
        return {"mse": sum(losses.values(), loss.new_zeros(())) / len(losses)} | losses

    state: dict[str, Stateful] = {"supernet": supernet, "optimizer": optimizer, "average": average}
    state["random"] = RandomStream(random)
    curve = run.train(supernet, step, state, training_config)
    return average.averaged(supernet).eval(), curve


def specs_of_step(
    supernet: Elastic, sandwich: bool, random_specs: int, random: torch.Generator
) -> list[tuple[str, Spec]]:
    """Draw the sub-generators of one step, each with a name for its loss.

    Args:
        supernet: whose space is drawn from.
        sandwich: whether the largest and the smallest are trained in every step (Yu and Huang 2019).
        random_specs: how many are drawn uniformly (Li et al. 2020, section 3.3).
        random: the training's stream.
    """
    space = supernet.space
    ends = [("largest", space.largest), ("smallest", space.smallest)] if sandwich else []
    return ends + [(f"random_{index}", space.sample(random)) for index in range(random_specs)]
