"""Distillation of conditional generators and of their supernets (GAN Compression, Li et al. 2020, section 3).

One path for paired and unpaired data, and for one student and a supernet: a step shows one batch to its *pupils*, which
are the student alone, or several sub-generators of the supernet's shared weights.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganpress.basics.seeding import torch_generator
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.pairs import PairArray
from ganpress.training.distillation import Distilled
from ganpress.training.distillation_step import Classroom, DistillationStep, Pupil, run_tapped
from ganpress.training.ema import recalibrate_batch_norm_
from ganpress.training.feature_matching import Features
from ganpress.training.gan import OnSamples
from ganpress.training.loop import Checkpointing, CurvePoint, Training
from ganpress.training.supernet_training import specs_of_step
from ganpress.training.translation_training import calibration_sources
from models.elastic import Elastic, Spec

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def distil_translation(
    student: nn.Module,
    teacher: nn.Module,
    discriminator: nn.Module | None,
    data: PairArray,
    config: FeatureDistillation,
    taps: tuple[str, ...],
    seed: int,
    label: str = "student",
    checkpointing: Checkpointing | None = None,
    on_samples: OnSamples | None = None,
    memory_format: torch.memory_format | None = None,
) -> Distilled:
    """Distil a conditional teacher into `student`.

    Args:
        student: reads what the teacher reads and draws images of the same size; on any device, with the other networks.
        teacher: left as it is, but frozen and in eval mode.
        discriminator: the teacher's own, with its trained weights, and trained on with the student (Li et al. 2020,
            section 3.1); conditional where the data is paired. None where the teacher comes without one.
        data: sources with their targets, or two domains. L_recon compares with the target where there is one, else
            with the teacher's image; the discriminator's real images are targets in both cases.
        config: weights of the terms, length and rates; its `taps` are not read.
        taps: layers of both networks whose features are matched; () leaves L_distill out.
        seed: of batches, adaptors and dropout.
        label: names the training in progress, curve and random streams.
        checkpointing: where the state is kept.
        on_samples: shown the student at every curve point.
        memory_format: of activations and weights; None takes the one that suits the student.

    Raises:
        ConfigError: if a term has a weight and lacks what it needs, or features differ in size at a tap.
        DataError: if there are fewer images than one batch.
        TrainingDiverged: if a loss is not finite.
    """
    room = Classroom(teacher, discriminator, data, config, taps, seed, label, memory_format)
    pupil = Pupil("", partial(run_tapped, student))
    averaged, curve = _train(student, lambda _: [pupil], pupil, room, checkpointing, on_samples)
    device = next(averaged.parameters()).device
    random, batch_size = torch_generator(seed, label, "calibration"), max(config.batch_size, 2)  # one has no variance
    sources = calibration_sources(data, random, batch_size, device)
    return Distilled(recalibrate_batch_norm_(averaged, sources), curve)


def distil_supernet(
    supernet: Elastic,
    teacher: nn.Module,
    discriminator: nn.Module | None,
    data: PairArray,
    config: FeatureDistillation,
    taps: tuple[str, ...],
    seed: int,
    sandwich: bool,
    random_specs: int,
    label: str = "supernet",
    checkpointing: Checkpointing | None = None,
    on_samples: OnSamples | None = None,
    memory_format: torch.memory_format | None = None,
) -> tuple[Elastic, list[CurvePoint]]:
    """Distil a conditional teacher into every width of `supernet` (Li et al. 2020, section 3.3).

    Each step runs `random_specs` sub-generators drawn uniformly on one batch, with `sandwich` also the largest and the
    smallest (Yu and Huang 2019), and adds up their losses. The other arguments are those of `distil_translation`.

    Returns:
        The supernet with averaged weights in eval mode, and the loss curve. Batch norm statistics belong to a spec:
        `Elastic.calibrate` measures them.

    Raises:
        ConfigError: as `distil_translation`.
        DataError: as `distil_translation`.
        TrainingDiverged: as `distil_translation`.
    """
    room = Classroom(teacher, discriminator, data, config, taps, seed, label, memory_format)

    def draw_pupils(random: torch.Generator) -> list[Pupil]:
        specs = specs_of_step(supernet, sandwich, random_specs, random)
        return [pupil_of(supernet, name, spec) for name, spec in specs]

    widest = pupil_of(supernet, "largest", supernet.space.largest)
    averaged, curve = _train(supernet, draw_pupils, widest, room, checkpointing, on_samples)
    return averaged.eval(), curve


def pupil_of(supernet: Elastic, name: str, spec: Spec) -> Pupil:
    """The sub-generator `spec` of a supernet, under a name for its losses."""

    def run(source: Tensor, taps: Sequence[str]) -> tuple[Tensor, Features]:
        return supernet.run(source, spec, taps=taps)

    return Pupil(name, run)


def _train(
    model: ModuleT,
    draw_pupils: Callable[[torch.Generator], list[Pupil]],
    widest: Pupil,
    room: Classroom,
    checkpointing: Checkpointing | None,
    on_samples: OnSamples | None,
) -> tuple[ModuleT, list[CurvePoint]]:
    """Train to the end; return a copy with averaged weights, and the curve."""
    step = DistillationStep(model, draw_pupils, widest, room, torch_generator(room.seed, room.label, "training"))
    on_point = None if on_samples is None else lambda point: on_samples(point, model)
    length = room.config.train_images, room.config.batch_size
    curve = Training(room.label, step, step.state, *length, checkpointing, on_point).run()
    return step.average.averaged(model), curve
