"""One step of conditional distillation, for one student or for several sub-generators of a supernet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn, optim

from ganpress.basics.seeding import seeded_initialisation
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.pairs import PairArray
from ganpress.errors import ConfigError
from ganpress.training.arithmetic import autocast, fastest_memory_format
from ganpress.training.dropout import DropoutStream
from ganpress.training.ema import WeightAverage
from ganpress.training.feature_matching import FeatureAdaptors, Features
from ganpress.training.loop import Losses, RandomStream, Stateful
from ganpress.training.schedule import LinearDecay
from ganpress.training.translation_objective import Lesson, TranslationObjective
from models.taps import tapped


@dataclass(frozen=True)
class Pupil:
    """A network that a step trains."""

    name: str
    """Of its loss in the curve; empty where it is the only one."""
    run: Callable[[Tensor, Sequence[str]], tuple[Tensor, Features]]
    """(sources (N, Cs, h, w), taps) -> (images (N, C, H, W), features at the taps)."""


@dataclass(frozen=True)
class Classroom:
    """Who teaches what and how; the same for a student and for a supernet."""

    teacher: nn.Module
    discriminator: nn.Module | None
    data: PairArray
    config: FeatureDistillation
    taps: tuple[str, ...]
    seed: int
    label: str
    memory_format: torch.memory_format | None = None
    """Of activations and weights; None takes the one that suits the student."""

    @property
    def matched_taps(self) -> tuple[str, ...]:
        """The taps, unless L_distill has no weight."""
        return self.taps if self.config.lambda_distill > 0 else ()


def run_tapped(network: nn.Module, source: Tensor, taps: Sequence[str]) -> tuple[Tensor, Features]:
    """Run a static network; return its images and the features at the taps."""
    with tapped(network, taps) as features:
        images: Tensor = network(source)
    return images, features


class DistillationStep:
    """One step of distillation, and the state that it moves.

    The generator goes first, pupil by pupil, so that only one pupil's activations are held at a time. Then the
    discriminator is updated, once a step: on a batch whose rows come from the pupils in turn, beginning with another
    one each step, so that it sees fakes of all widths at the cost of one.

    Args:
        model: whose weights are trained; all pupils run on them.
        draw_pupils: draws the pupils of a step.
        widest: the pupil with the most channels at every tap.
        room: who teaches what.
        random: the stream of batches, pupils and dropout.

    Raises:
        ConfigError: if a tap is not a layer of both networks, or as `TranslationObjective`, `FeatureAdaptors.between`.
        DataError: if there are fewer images than one batch.
    """

    def __init__(
        self,
        model: nn.Module,
        draw_pupils: Callable[[torch.Generator], list[Pupil]],
        widest: Pupil,
        room: Classroom,
        random: torch.Generator,
    ) -> None:
        config = room.config
        self._draw_pupils, self._room, self._random = draw_pupils, room, random
        self._device = next(model.parameters()).device
        self._batches = room.data.random_batches(random, config.batch_size)
        room.teacher.eval().requires_grad_(False)
        adaptors = self._build_adaptors(model, widest)
        self.objective = TranslationObjective(config, adaptors, room.discriminator, room.data.paired).to(self._device)
        model.train()
        self._layout = room.memory_format or fastest_memory_format(model)
        for network in (model, room.teacher, room.discriminator, self.objective.perceptual):
            if network is not None:
                network.to(memory_format=self._layout)
        self._dropout = DropoutStream(model, random)
        parameters = [*model.parameters(), *([] if adaptors is None else adaptors.parameters())]
        self._optimizer = optim.Adam(parameters, config.learning_rate, (config.beta1, config.beta2))
        self._schedules = [self._schedule(self._optimizer, config.learning_rate)]
        self.average = WeightAverage(model, config.ema_half_life_images)
        self.state: dict[str, Stateful] = {"model": model, "optimizer": self._optimizer, "average": self.average}
        self.state["random"] = RandomStream(random)
        if adaptors is not None:
            self.state["adaptors"] = adaptors
        if (adversary := self.objective.adversary) is not None:
            self._schedules.append(self._schedule(adversary.optimizer, config.discriminator_learning_rate))
            self.state |= {"discriminator": adversary.discriminator, "discriminator_optimizer": adversary.optimizer}

    def __call__(self, images_shown: int) -> Losses:
        """Train every pupil on one batch, then the discriminator on their images; return means over the pupils."""
        for schedule in self._schedules:
            schedule.set(images_shown)
        lesson, pupils, losses = self._lesson(), self._draw_pupils(self._random), _PupilLosses()
        fakes = []
        self._optimizer.zero_grad(set_to_none=True)
        for pupil in pupils:
            fakes.append(self._teach(pupil, lesson, losses))
        self._optimizer.step()
        batch_size = self._room.config.batch_size
        self.average.update(images_shown + batch_size, batch_size)
        means = losses.means()
        if (adversary := self.objective.adversary) is not None:
            fake = in_turn(fakes, images_shown // batch_size)
            means["discriminator_loss"] = adversary.update(lesson.source, lesson.real, fake)
        return means

    def _teach(self, pupil: Pupil, lesson: Lesson, losses: "_PupilLosses") -> Tensor:
        """Add one pupil's gradients; return its images, detached."""
        with autocast(self._room.config, self._device):
            with self._dropout.step():
                images, features = pupil.run(lesson.source, self._room.matched_taps)
            terms = self.objective.terms(lesson, images, features)
            total = self.objective.total(terms)
        total.backward()
        losses.add(pupil.name, terms, total)
        return images.detach()

    @torch.no_grad()
    def _lesson(self) -> Lesson:
        batch = next(self._batches)
        source, real = (part.to(self._device, non_blocking=True, memory_format=self._layout) for part in batch)
        paired, taps = self._room.data.paired, self._room.matched_taps
        if paired and not taps:  # nothing of the teacher is looked at
            return Lesson(source, real, real, {})
        with autocast(self._room.config, self._device):
            images, features = run_tapped(self._room.teacher, source, taps)
        return Lesson(source, real, real if paired else images, features)

    @torch.no_grad()
    def _build_adaptors(self, model: nn.Module, widest: Pupil) -> FeatureAdaptors | None:
        """Adaptors of the shapes that one source shows; its stream is another one, so that it costs no batch."""
        room, taps = self._room, self._room.matched_taps
        if not taps:
            return None
        source = room.data.sources.batch(torch.zeros(1, dtype=torch.long)).to(self._device)
        model.eval()  # moves no statistics
        try:
            features = [widest.run(source, taps)[1], run_tapped(room.teacher, source, taps)[1]]
        except ValueError as error:
            raise ConfigError(f"taps of {room.label}: {error}; both networks need the layers named in taps") from None
        with seeded_initialisation(room.seed, room.label, "adaptors"):
            return FeatureAdaptors.between(*features).to(self._device)

    def _schedule(self, optimizer: optim.Optimizer, peak: float) -> LinearDecay:
        return LinearDecay(optimizer, peak, self._room.config.train_images, self._room.config.decay_fraction)


@dataclass
class _PupilLosses:
    """Detached losses of a step's pupils: every term, and each named pupil's total."""

    terms: dict[str, list[Tensor]] = field(default_factory=dict)
    totals: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, terms: dict[str, Tensor], total: Tensor) -> None:
        for term, value in terms.items():
            self.terms.setdefault(term, []).append(value.detach())
        if name:
            self.totals[f"total_{name}"] = total.detach()

    def means(self) -> dict[str, Tensor]:
        return {term: torch.stack(values).mean() for term, values in self.terms.items()} | self.totals


def in_turn(batches: list[Tensor], turn: int) -> Tensor:
    """Return a batch (N, …) whose row i is row i of batch `(i + turn) % len(batches)`, all (N, …)."""
    if len(batches) == 1:
        return batches[0]
    count = len(batches[0])
    chosen = [(row + turn) % len(batches) for row in range(count)]
    return torch.stack([batches[index][row] for row, index in enumerate(chosen)])
