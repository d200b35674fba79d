"""Distillation of conditional generators and of their supernets (GAN Compression, Li et al. 2020, section 3).

One path for paired and unpaired data, and for one student and a supernet: a step shows one batch to its *students*: to
the student alone, or to several sub-generators of the supernet's shared weights.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.training.distillation import Distilled
from ganpress.training.distillation_step import DistillationSetup, DistillationStep, Student, run_tapped
from ganpress.training.ema import recalibrate_batch_norm_
from ganpress.training.feature_matching import Features
from ganpress.training.loop import CurvePoint, TrainingRun
from ganpress.training.supernet_training import specs_of_step
from ganpress.training.translation_training import calibration_sources
from models.elastic import Elastic, Spec

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def distil_translation(student: nn.Module, setup: DistillationSetup, run: TrainingRun) -> Distilled:
    """Distil a conditional teacher into `student`, which reads and draws what the teacher does, on any device.

    Raises:
        ConfigError: if a term has a weight and lacks what it needs, or features differ in size at a tap.
        DataError: if there are fewer images than one batch.
        TrainingDiverged: if a loss is not finite.
    """
    alone = Student("", partial(run_tapped, student))
    averaged, curve = _train(student, lambda _: [alone], alone, setup, run)
    device = next(averaged.parameters()).device
    batch_size = max(setup.config.batch_size, 2)  # one has no variance
    sources = calibration_sources(setup.data, run.stream("calibration"), batch_size, device)
    return Distilled(recalibrate_batch_norm_(averaged, sources), curve)


def distil_supernet(
    supernet: Elastic, setup: DistillationSetup, run: TrainingRun, sandwich: bool, random_specs: int
) -> tuple[Elastic, list[CurvePoint]]:
    """Distil a conditional teacher into every width of `supernet` (Li et al. 2020, section 3.3).

    Each step runs `random_specs` sub-generators drawn uniformly on one batch, with `sandwich` also the largest and the
    smallest (Yu and Huang 2019), and adds up their losses.

    Returns:
        The supernet with averaged weights in eval mode, and the loss curve. Batch norm statistics belong to a spec:
        `Elastic.calibrate` measures them.

    Raises:
        ConfigError, DataError, TrainingDiverged: as `distil_translation`.
    """

    def draw_students(random: torch.Generator) -> list[Student]:
        specs = specs_of_step(supernet, sandwich, random_specs, random)
        return [student_of(supernet, name, spec) for name, spec in specs]

    widest = student_of(supernet, "largest", supernet.space.largest)
    averaged, curve = _train(supernet, draw_students, widest, setup, run)
    return averaged.eval(), curve


def student_of(supernet: Elastic, name: str, spec: Spec) -> Student:
    """The sub-generator `spec` of a supernet, under a name for its losses."""

    def run(source: Float[Tensor, "n c_s h_s w_s"], taps: Sequence[str]) -> tuple[Float[Tensor, "n c h w"], Features]:
        return supernet.run(source, spec, taps=taps)

    return Student(name, run)


def _train(
    model: ModuleT,
    draw_students: Callable[[torch.Generator], list[Student]],
    widest: Student,
    setup: DistillationSetup,
    run: TrainingRun,
) -> tuple[ModuleT, list[CurvePoint]]:
    """Train to the end; return a copy with averaged weights, and the curve."""
    step = DistillationStep(model, draw_students, widest, setup, run)
    curve = run.train(model, step, step.state, setup.config)
    return step.average.averaged(model), curve
