"""One step of conditional distillation, for one student or for several sub-generators of a supernet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn, optim

from ganpress.basics.device import moved
from ganpress.basics.ranks import own_rows, rank
from ganpress.basics.seeding import seeded_initialisation
from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.pairs import PairArray
from ganpress.data.prepared.read_ahead import ahead_for
from ganpress.errors import ConfigError
from ganpress.training.arithmetic import autocast, fastest_memory_format
from ganpress.training.dropout import DropoutStream
from ganpress.training.ema import WeightAverage
from ganpress.training.feature_matching import FeatureAdaptors, Features
from ganpress.training.loop import Losses, RandomStream, Stateful, TrainingRun
from ganpress.training.schedule import LinearDecay
from ganpress.training.translation_objective import Batch, TranslationObjective
from models.taps import tapped


@dataclass(frozen=True)
class Student:
    """A network that a step trains."""

    name: str
    """Name of its loss in the curve; empty if it is the only student."""
    run: Callable[[Tensor, Sequence[str]], tuple[Tensor, Features]]
    """(sources (N, Cs, h, w), taps) -> (images (N, C, H, W), features at the taps)."""


@dataclass(frozen=True)
class DistillationSetup:
    """The networks and settings with which a conditional generator is distilled, the same for a student and a
    supernet.
    """

    teacher: nn.Module
    """Teacher on the student's device; its weights are not changed, but it is frozen and set to eval mode."""
    discriminator: nn.Module | None
    """Discriminator against which the student is trained, see `FeatureDistillation.discriminator`.
    It is conditional for paired data; None trains without one.
    """
    data: PairArray
    """Sources with their targets, or two domains. L_recon compares with the target where there is one, else with the
    teacher's image; the discriminator's real images are targets in both cases.
    """
    config: FeatureDistillation
    """Weights of the terms, length and rates; its `taps` are not read."""
    taps: tuple[str, ...]
    """Layers of both networks whose features are matched; () leaves L_distill out."""
    memory_format: torch.memory_format | None = None
    """Memory format of activations and weights; None takes the one that suits the student."""

    @property
    def matched_taps(self) -> tuple[str, ...]:
        """The taps, unless L_distill has no weight."""
        return self.taps if self.config.lambda_distill > 0 else ()


def run_tapped(
    network: nn.Module, source: Float[Tensor, "n c_s h_s w_s"], taps: Sequence[str]
) -> tuple[Float[Tensor, "n c h w"], Features]:
    """Run a static network; return its images and the features at the taps."""
    with tapped(network, taps) as features:
        images: Tensor = network(source)
    return images, features


class DistillationStep:
    """One step of distillation, and the state that it moves.

    The generator goes first, student by student, so that only one student's activations are held at a time. Then the
    discriminator is updated, once a step: on a batch whose rows come from the students in turn, beginning with another
    one each step, so that it sees fakes of all widths at the cost of one.

    Args:
        model: whose weights are trained; all students run on them.
        draw_students: draws the students of a step.
        widest: the student with the most channels at every tap.
        setup: what it is distilled from.
        run: its random streams and name.

    Raises:
        ConfigError: if a tap is not a layer of both networks, or as `TranslationObjective`, `FeatureAdaptors.between`.
        DataError: if there are fewer images than one batch.
    """

    def __init__(
        self,
        model: nn.Module,
        draw_students: Callable[[torch.Generator], list[Student]],
        widest: Student,
        setup: DistillationSetup,
        run: TrainingRun,
    ) -> None:
        config, random = setup.config, run.stream("training")
        self._draw_students, self._setup, self._run, self._random = draw_students, setup, run, random
        self._device = next(model.parameters()).device
        self._dropout = DropoutStream(model, random)
        ahead = ahead_for(self._device, self._draw_rest)
        self._batches = setup.data.random_batches(random, config.batch_size, own_rows(config.batch_size), ahead)
        setup.teacher.eval().requires_grad_(False)
        adaptors = self._build_adaptors(model, widest)
        self.objective = TranslationObjective(config, adaptors, setup.discriminator, setup.data.paired).to(self._device)
        model.train()
        self._layout = setup.memory_format or fastest_memory_format(model)
        for network in (model, setup.teacher, setup.discriminator, self.objective.perceptual):
            if network is not None:
                network.to(memory_format=self._layout)
        parameters = [*model.parameters(), *([] if adaptors is None else adaptors.parameters())]
        self._optimizer = optim.Adam(parameters, config.learning_rate, (config.beta1, config.beta2))
        self._schedules = [self._schedule(self._optimizer, config.learning_rate)]
        self.average = WeightAverage(model, config.ema_half_life_images)
        self.state: dict[str, Stateful] = {"model": model, "optimizer": self._optimizer, "average": self.average}
        self.state["random"] = RandomStream(random)
        if adaptors is not None:
            self.state["adaptors"] = adaptors
        if (adversary := self.objective.adversary) is not None:
            self._schedules.append(self._schedule(adversary.optimizer, config.opponent_learning_rate))
            self.state |= {"discriminator": adversary.discriminator, "discriminator_optimizer": adversary.optimizer}

    def __call__(self, images_shown: int) -> Losses:
        """Train every student on one batch, then the discriminator on their images; return means over the students."""
        for schedule in self._schedules:
            schedule.set(images_shown)
        batch, students, losses = self._next_batch(), self._draw_students(self._random), _StudentLosses()
        fakes = []
        self._optimizer.zero_grad(set_to_none=True)
        for student in students:
            fakes.append(self._teach(student, batch, losses))
        self._optimizer.step()
        batch_size = self._setup.config.batch_size
        self.average.update(images_shown + batch_size, batch_size)
        means = losses.means()
        if (adversary := self.objective.adversary) is not None:
            fake = in_turn(fakes, images_shown // batch_size)
            means["discriminator_loss"] = adversary.update(batch.source, batch.real, fake)
        return means

    def _draw_rest(self, stream: torch.Generator) -> None:
        """Draw from a stream what a step draws after its batch."""
        for _ in self._draw_students(stream):
            self._dropout.draw(stream)

    def _teach(self, student: Student, batch: Batch, losses: "_StudentLosses") -> Float[Tensor, "n c h w"]:
        """Add one student's gradients; return its images, detached."""
        with autocast(self._setup.config, self._device):
            with self._dropout.step():
                images, features = student.run(batch.source, self._setup.matched_taps)
            terms = self.objective.terms(batch, images, features)
            total = self.objective.total(terms)
        total.backward()
        losses.add(student.name, terms, total)
        return images.detach()

    @torch.no_grad()
    def _next_batch(self) -> Batch:
        images = next(self._batches)
        source, real = (moved(part, self._device, self._layout) for part in images)
        paired, taps = self._setup.data.paired, self._setup.matched_taps
        if paired and not taps:  # nothing of the teacher is looked at
            return Batch(source, real, real, {})
        with autocast(self._setup.config, self._device):
            taught, features = run_tapped(self._setup.teacher, source, taps)
        return Batch(source, real, real if paired else taught, features)

    @torch.no_grad()
    def _build_adaptors(self, model: nn.Module, widest: Student) -> FeatureAdaptors | None:
        """Adaptors of the shapes that one source shows; its stream is another one, so that it costs no batch."""
        setup, taps, run = self._setup, self._setup.matched_taps, self._run
        if not taps:
            return None
        source = setup.data.sources.batch(torch.zeros(1, dtype=torch.long)).to(self._device)
        model.eval()  # moves no statistics
        try:
            features = [widest.run(source, taps)[1], run_tapped(setup.teacher, source, taps)[1]]
        except ValueError as error:
            raise ConfigError(f"taps of {run.label}: {error}; both networks need the layers named in taps") from None
        with seeded_initialisation(run.seed, run.label, "adaptors"):
            return FeatureAdaptors.between(*features).to(self._device)

    def _schedule(self, optimizer: optim.Optimizer, peak: float) -> LinearDecay:
        return LinearDecay(optimizer, peak, self._setup.config.train_images, self._setup.config.decay_fraction)


@dataclass
class _StudentLosses:
    """Detached losses of a step's students: every term, and each named student's total."""

    terms: dict[str, list[Tensor]] = field(default_factory=dict)
    totals: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, terms: dict[str, Float[Tensor, ""]], total: Float[Tensor, ""]) -> None:
        for term, value in terms.items():
            self.terms.setdefault(term, []).append(value.detach())
        if name:
            self.totals[f"total_{name}"] = total.detach()

    def means(self) -> dict[str, Float[Tensor, ""]]:
        return {term: torch.stack(values).mean() for term, values in self.terms.items()} | self.totals


def in_turn(batches: list[Shaped[Tensor, "_ ..."]], turn: int) -> Shaped[Tensor, "_ ..."]:
    """Return a batch whose row i is row i of batch `(i + turn) % len(batches)`.

    Rows count over all ranks, of which each has N.
    """
    if len(batches) == 1:
        return batches[0]
    count = len(batches[0])
    chosen = [(rank() * count + row + turn) % len(batches) for row in range(count)]
    return torch.stack([batches[index][row] for row, index in enumerate(chosen)])
