"""Computes the cost of the trainings of a chain from its parameters alone, without data or weights and without running
a network.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ganpress.config.params import Params
from ganpress.config.training_section import AnyTraining, GanTraining, StudentItem
from ganpress.config.translation_section import Adversarial, FeatureDistillation, TranslationTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.data.raw.dataset_card import Pairing
from ganpress.data.sources.semantic_sources import CITYSCAPES_NAMES
from ganpress.errors import ConfigError
from ganpress.training.cyclegan import WayBack
from ganpress.training.distances.mixed_distance import MixedDistance, features_needed
from ganpress.training.distillation import JointTerm, train_student
from ganpress.training.distillation_step import DistillationSetup
from ganpress.training.feature_distillation import distil_supernet, distil_translation
from ganpress.training.gan import train_gan
from ganpress.training.loop import TrainingRun
from ganpress.training.step_cost import META, StepCost, step_cost
from ganpress.training.supernet_training import train_supernet
from ganpress.training.translation_training import train_translation
from models.builders import Blueprint, elastic_blueprint, generator_blueprint, subnet_blueprint, width_numbers
from models.elastic import Elastic, NoInitialisation
from models.family import Canvas
from tasks.shared.adversarial import gan_discriminator
from tasks.shared.conditional_stages import discriminator_blueprint, distilled_taps, way_back

SectionT = TypeVar("SectionT", bound=Adversarial)
SUPERNET_STEPS = 8
"""Number of supernet steps that are averaged, because each step draws different widths."""
LABELS = {"cityscapes": len(CITYSCAPES_NAMES)}
SEMANTIC = ("cityscapes", "semantic", "segments")
"""Names of data sources whose generators read label maps."""


@dataclass(frozen=True)
class TrainingCost:
    """One training of a chain."""

    name: str
    """Stage and item, such as `student@d4-mse`."""
    images: int
    """Number of images shown over the whole training."""
    step: StepCost

    @property
    def flops(self) -> float:
        """Operations of the whole training."""
        return self.images * self.step.flops_per_image


def training_costs(params: Params, label_classes: int | None = None) -> Iterator[TrainingCost]:
    """Return the cost of each generator training of a chain with these parameters; the judge's training is left out.

    The largest candidate is assumed to be the teacher of students, supernet and sub-generator. The supernet's largest
    sub-generator stands for the one that the search will choose. A supernet's operations are the mean over several
    draws of its widths; its memory is that of its largest sub-generator.

    Args:
        params: parameters of the chain.
        label_classes: number of classes of semantic data; None uses that of a published set.

    Raises:
        ConfigError: if the number of classes is needed but unknown, or a generator is imported, because its network is
            unknown here.
    """
    chain = Chain(params, canvas_of_chain(params, label_classes))
    with chain.feature_network():
        for stage, items in (("candidate", params.candidate.items), ("control", params.control.items)):
            training = getattr(params, stage).training
            for name, item in items.items():
                cost = step_cost(partial(chain.train, training, item.generator_name))
                yield TrainingCost(f"{stage}@{name}", training.train_images, cost)
        for name, student in params.student.items.items():
            yield TrainingCost(
                f"student@{name}", params.student.training.train_images, step_cost(partial(chain.distil, student))
            )
        widest = step_cost(partial(chain.distil_supernet, True)).peak_bytes
        drawn = step_cost(partial(chain.distil_supernet, params.supernet.sandwich), SUPERNET_STEPS)
        cost = StepCost(drawn.flops_per_image, max(widest, drawn.peak_bytes))
        yield TrainingCost("supernet", params.supernet.training.train_images, cost)
        if params.subnet.fine_tuning is not None:
            yield TrainingCost("subnet", params.subnet.fine_tuning.train_images, step_cost(chain.fine_tune))


def canvas_of_chain(params: Params, label_classes: int | None = None) -> Canvas:
    """Return the input and output shapes of a chain's generators, by its parameters.

    Raises:
        ConfigError: if they read label maps, and neither the name of the data nor `label_classes` gives the number of
            classes.
    """
    prepare, source = params.prepare, params.data.source
    plain = Canvas(prepare.channels, prepare.image_size, prepare.target_width, latent=prepare.latent)
    if not isinstance(params.candidate.training, TranslationTraining):
        return plain
    if reads_labels(params):
        classes = label_classes or LABELS.get(source)
        if classes is None:
            raise ConfigError(
                f"the number of label classes of '{source}' is known only from its data; give --label-classes"
            )
        return replace(plain, reads=classes)
    height, width = prepare.source_shape
    return replace(plain, reads=prepare.source_channels or prepare.channels, source_height=height, source_width=width)


def reads_labels(params: Params) -> bool:
    """Return whether the generators of a chain read label maps, by the framework and the kind of its data."""
    training = params.candidate.training
    spade = isinstance(training, TranslationTraining) and training.framework == "spade"
    return spade or params.data.source.partition(":")[0] in SEMANTIC


class Chain:
    """The trainings of one chain on the given device; their data is one picture that is repeated.

    Args:
        params: parameters of the chain.
        canvas: input and output shapes of its generators.
        device: `meta` computes nothing.

    Raises:
        ConfigError: if a generator is imported.
    """

    def __init__(self, params: Params, canvas: Canvas, device: torch.device = META) -> None:
        self._params, self._canvas, self._device = params, canvas, device
        if any(item.imported for item in params.candidate.items.values()):
            raise ConfigError("candidate.items has an imported generator; only trainings of families can be counted")
        self._weights: Path | None = None

    @contextmanager
    def feature_network(self) -> Iterator[None]:
        """Use an untrained VGG19 for perceptual losses whose weights are missing, because only its shapes matter."""
        from torchvision.models import vgg19

        with tempfile.TemporaryDirectory(prefix="ganpress-cost-") as folder:
            self._weights = Path(folder) / "vgg19.pth"
            if self._is_perceptual():
                with torch.device(META):
                    shapes = vgg19(weights=None).features.state_dict()
                torch.save({f"features.{name}": torch.zeros(one.shape) for name, one in shapes.items()}, self._weights)
            yield

    def train(self, config: AnyTraining, name: str, run: TrainingRun) -> None:
        """Train a generator on data, as `candidate` and `control` do."""
        blueprint = generator_blueprint(name, self._canvas)
        generator = self._built(blueprint)
        if isinstance(config, GanTraining):
            images = self._images(config.batch_size)
            mirror = gan_discriminator(config, images.size, images.channels, max(width_numbers(blueprint)))
            train_gan(generator, self._built(mirror), images, config, run)
            return
        config, back = self._with_weights(config), None
        if config.framework == "cyclegan":
            other = way_back(self._canvas, blueprint, config)
            back = WayBack(self._built(other.generator), self._built(other.discriminator))
        mirror = discriminator_blueprint(self._canvas, config)
        train_translation(generator, self._built(mirror), self._pairs(config.batch_size), config, run, back)

    def distil(self, item: StudentItem, run: TrainingRun) -> None:
        """Distil a student."""
        config, blueprint = self._params.student.training, generator_blueprint(item.generator_name, self._canvas)
        student = self._built(blueprint)
        if isinstance(config, FeatureDistillation):
            distil_translation(student, self._setup(config, blueprint.builder), run)
            return
        joint = self._joint(item, max(width_numbers(blueprint))) if item.loss == "joint" else None
        train_student(student, self._teacher(), config, run, joint, distance=self._distance(item))

    def distil_supernet(self, sandwich: bool, run: TrainingRun) -> None:
        """Distil the supernet."""
        config = self._params.supernet
        supernet = self._built(self._elastic)
        assert isinstance(supernet, Elastic)
        if isinstance(config.training, FeatureDistillation):
            setup = self._setup(config.training, self._largest.builder)
            distil_supernet(supernet, setup, run, sandwich, config.random_specs)
        else:
            train_supernet(supernet, self._teacher(), config.model_copy(update={"sandwich": sandwich}), run)

    def fine_tune(self, run: TrainingRun) -> None:
        """Distil the supernet's largest sub-generator."""
        config = self._params.subnet.fine_tuning
        assert config is not None
        if isinstance(config, FeatureDistillation):
            distil_translation(self._built(self._largest), self._setup(config, self._largest.builder), run)
        else:
            train_student(self._built(self._largest), self._teacher(), config, run)

    @cached_property
    def _elastic(self) -> Blueprint:
        config = self._params.supernet
        return elastic_blueprint(config.family, self._canvas, config.widths)

    @cached_property
    def _largest(self) -> Blueprint:
        supernet = self._on_meta(self._elastic)
        assert isinstance(supernet, Elastic)
        return subnet_blueprint(self._elastic, supernet.space.largest)

    @cached_property
    def _teacher_name(self) -> str:
        """Return the candidate with the most parameters."""
        sizes = {}
        for item in self._params.candidate.items.values():
            network = self._on_meta(generator_blueprint(item.generator_name, self._canvas))
            sizes[item.generator_name] = sum(parameter.numel() for parameter in network.parameters())
        return max(sizes, key=lambda name: sizes[name])

    def _teacher(self) -> nn.Module:
        return self._built(generator_blueprint(self._teacher_name, self._canvas))

    def _setup(self, config: FeatureDistillation, builder: str) -> DistillationSetup:
        training = self._params.candidate.training
        assert isinstance(training, TranslationTraining)
        opponent = None
        if config.needs_discriminator:
            opponent = self._built(discriminator_blueprint(self._canvas, training))
        taps, data = distilled_taps(config, builder), self._pairs(config.batch_size)
        return DistillationSetup(self._teacher(), opponent, data, self._with_weights(config), taps)

    def _joint(self, item: StudentItem, width: int) -> JointTerm:
        """Return the joint loss with a new discriminator of the student's width, or the teacher's discriminator."""
        config, training = self._params.student.adversarial, self._params.candidate.training
        assert isinstance(training, GanTraining)
        images = self._images(self._params.student.training.batch_size)
        if config.discriminator == "fresh":
            mirror = gan_discriminator(config, images.size, images.channels, width)
        else:
            mirror = self._teachers_mirror(training)
        return JointTerm(self._built(mirror), images, config, item.alpha, item.gradient_ratio)

    def _distance(self, item: StudentItem) -> MixedDistance | None:
        if item.distances is None:
            return None
        training, critic = self._params.candidate.training, None
        if features_needed(item.distances, False, ""):
            assert isinstance(training, GanTraining)
            critic = self._built(self._teachers_mirror(training))
        return MixedDistance(item.distances, critic)

    def _teachers_mirror(self, training: GanTraining) -> Blueprint:
        widest = max(width_numbers(generator_blueprint(self._teacher_name, self._canvas)))
        return gan_discriminator(training, self._canvas.height, self._canvas.channels, widest)

    def _built(self, blueprint: Blueprint) -> nn.Module:
        return self._on_meta(blueprint) if self._device.type == "meta" else blueprint.build().to(self._device)

    def _on_meta(self, blueprint: Blueprint) -> nn.Module:
        with torch.device(META), NoInitialisation():
            return blueprint.build()

    def _is_perceptual(self) -> bool:
        of = self._params
        sections = (of.candidate.training, of.student.training, of.control.training, of.supernet.training)
        return any(isinstance(one, Adversarial) and one.lambda_perceptual > 0 for one in sections)

    def _with_weights(self, config: SectionT) -> SectionT:
        """Return the section with a feature network that can be read."""
        if config.lambda_perceptual == 0 or Path(str(config.perceptual_weights)).is_file():
            return config
        return config.model_copy(update={"perceptual_weights": str(self._weights)})

    def _images(self, count: int) -> ImageArray:
        canvas = self._canvas
        return ImageArray(_black(count, canvas.channels, canvas.height, canvas.width), np.full(count, -1))

    def _pairs(self, count: int) -> PairArray:
        training = self._params.candidate.training
        assert isinstance(training, TranslationTraining)
        channels, height, width = self._canvas.source_shape
        if reads_labels(self._params):
            sources = SourceArray(_black(count, 1, height, width), channels)
            return PairArray(sources, self._images(count), "semantic")
        pairing: Pairing = "unpaired" if training.framework == "cyclegan" else "paired"
        return PairArray(SourceArray(_black(count, channels, height, width)), self._images(count), pairing)


def _black(*shape: int) -> NDArray[np.uint8]:
    """Return black pictures (N, C, H, W) that take no memory."""
    return np.broadcast_to(np.zeros((1, 1, 1, 1), np.uint8), shape)
