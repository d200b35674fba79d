"""Sections of the trainings of teachers, students, controls and the supernet."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from ganpress.config.base import Section
from ganpress.config.bounds import (
    MAX_ITEMS,
    Depth,
    FidRatio,
    GeneratorName,
    HalfLife,
    Images,
    ImagesShown,
    ImportedFolder,
    ItemName,
    LearningRate,
    Momentum,
    PositiveWeight,
    RegisteredName,
    ScoredImages,
    Share,
    ShareInside,
    StatisticsBatchSize,
    Steps,
    Width,
)
from ganpress.config.translation_section import (
    CONDITIONAL,
    SLOWED,
    UNCONDITIONAL,
    FeatureDistillation,
    TranslationTraining,
    kind_of_training,
)
from ganpress.registries import DISTANCES, METRICS


class AdversaryTraining(Section):
    """Settings of the training of a discriminator or critic."""

    objective: Literal["gan", "wgan", "r3gan"]
    """`gan`: non-saturating DCGAN loss; `wgan`: critic loss with weight clipping or a gradient penalty; `r3gan`: the
    relativistic pairing loss with zero-centred gradient penalties on real and generated images (Huang et al. 2024)."""
    discriminator_learning_rate: LearningRate
    beta1: Momentum
    weight_clip: PositiveWeight | None = None
    """WGAN: limit c of the critic's weights, which are clipped to [-c, c] after each step (Arjovsky 2017)."""
    gradient_penalty: PositiveWeight | None = None
    """WGAN: weight of the gradient penalty instead of clipping (Gulrajani 2017). R3GAN: gamma of both penalties."""
    augment: Literal["none", "diffaugment"] = "none"
    """Augmentation of images before the discriminator. `diffaugment` changes colours, shifts and cuts out regions of
    real and generated images alike (Zhao et al. 2020), so that a few hundred pictures are not memorised."""
    bf16: bool = False
    """Compute convolutions in bfloat16 while training, with weights in float32, as in conditional trainings."""
    tf32: bool = False
    """Multiply in TF32 while training on an NVIDIA GPU, which is faster but rounds to 10 bits; metrics never use it."""

    @model_validator(mode="after")
    def _lipschitz(self) -> "AdversaryTraining":
        if self.objective == "wgan" and (self.weight_clip is None) == (self.gradient_penalty is None):
            raise ValueError("objective 'wgan' needs exactly one of weight_clip and gradient_penalty")
        if self.objective == "r3gan" and (self.weight_clip is not None or self.gradient_penalty is None):
            raise ValueError("objective 'r3gan' needs gradient_penalty, the gamma of its penalties, and no weight_clip")
        if self.objective == "gan" and (self.weight_clip or self.gradient_penalty):
            raise ValueError("objective 'gan' takes neither weight_clip nor gradient_penalty")
        return self


class JointTraining(AdversaryTraining):
    """The discriminator of the joint loss, which is updated once per step."""

    discriminator: Literal["inherited", "slowed", "fresh"] = "inherited"
    """`inherited`: the teacher's discriminator with its trained weights; `slowed`: the same at a tenth of its learning
    rate; `fresh`: a newly initialised one of `discriminator_depth`."""
    discriminator_depth: Depth | None = None
    """Depth scale factor of a fresh discriminator; null gives it the student's."""

    @property
    def opponent_learning_rate(self) -> float:
        """Return the learning rate of the discriminator: a tenth of the configured one if it is slowed."""
        return self.discriminator_learning_rate * (SLOWED if self.discriminator == "slowed" else 1)


class GanTraining(AdversaryTraining):
    """Adversarial training of one generator, shared by candidates and controls."""

    train_images: ImagesShown
    """Training length as a number of real images shown."""
    batch_size: StatisticsBatchSize
    generator_learning_rate: LearningRate
    discriminator_depth: Depth | None = None
    """Depth scale factor of the discriminator; null gives it the generator's."""
    discriminator_steps: Steps
    """Number of discriminator or critic updates for each generator update."""
    ema_half_life_images: HalfLife
    """Half-life of the exponential moving average of generator weights, in images; 0 switches it off."""


AnyTraining = Annotated[
    Annotated[GanTraining, Tag(UNCONDITIONAL)] | Annotated[TranslationTraining, Tag(CONDITIONAL)],
    Discriminator(kind_of_training),
]
"""A section that names a `framework` trains a conditional generator."""


class GeneratorItem(Section):
    """A generator, named by exactly one of two keys."""

    depth: Depth | None = None
    """W-DCGAN's depth scale factor."""
    spec: GeneratorName | None = None
    """Generator of any family as `family:spec`, as in `ganpress cost`."""

    @model_validator(mode="after")
    def _one_name(self) -> "GeneratorItem":
        if (self.depth is None) == (self.spec is None):
            raise ValueError("needs exactly one of depth (W-DCGAN) and spec (family:spec, see `ganpress cost`)")
        return self

    @property
    def generator_name(self) -> str:
        """`family:spec`."""
        return self.spec or f"wdcgan:{self.depth}"


class CandidateItem(GeneratorItem):
    """A member of the teacher family: trained here, or imported."""

    imported: bool = False
    """Use the generator at `candidate.imported` unchanged."""

    @model_validator(mode="after")
    def _one_name(self) -> "CandidateItem":
        if (self.depth is not None) + (self.spec is not None) + self.imported != 1:
            raise ValueError("needs exactly one of depth (W-DCGAN), spec (family:spec) and imported: true")
        return self


class CandidateConfig(Section):
    """The teacher family: one GAN for each depth or spec."""

    training: AnyTraining
    imported: ImportedFolder = "imported/README.md"
    """Folder of an imported generator, e.g. `imported/srgan`, for the items that use it; by default there is none."""
    items: dict[ItemName, CandidateItem] = Field(min_length=1, max_length=MAX_ITEMS)


def _can_choose(name: str) -> str:
    if name in METRICS and METRICS[name].can_choose:
        return name
    allowed = METRICS.listing(lambda metric: metric.can_choose)
    raise ValueError(f"'{name}' is not a metric that can select generators; choose {allowed}")


QuickMetric = Annotated[RegisteredName, AfterValidator(_can_choose)]
"""Metric that selects generators; `miou` needs a segmenter as judge, `psnr` needs paired data."""


class TeacherConfig(Section):
    """Selection of the best candidate."""

    metric: QuickMetric
    images: ScoredImages
    """Number of generated images on which each candidate is scored, against the validation split."""
    max_fid_ratio: FidRatio | None = None
    """Largest allowed FID of the selected teacher, as a multiple of the FID of real pictures; above it the run stops.
    None: the report warns."""
    min_recall: Share | None = None
    """Smallest allowed recall of the selected teacher; below it the run stops. None: the report warns."""

    @property
    def has_limits(self) -> bool:
        """Return whether the teacher has to pass a limit."""
        return self.max_fid_ratio is not None or self.min_recall is not None


class DistillationTraining(Section):
    """Training of a student from the teacher's images, or jointly with a discriminator."""

    train_images: ImagesShown
    """Training length as a number of latents shown."""
    batch_size: StatisticsBatchSize
    learning_rate: LearningRate
    """Peak learning rate, which decays to zero along a cosine."""
    beta1: Momentum
    ema_half_life_images: HalfLife
    teacher_images: Images | None = None
    """Number of images that the teacher draws once and that are reused; null draws new ones for every step."""
    bf16: bool = False
    """Compute convolutions of teacher and student in bfloat16 while training, with weights in float32."""
    tf32: bool = False
    """Multiply in TF32 while training on an NVIDIA GPU, which is faster but rounds to 10 bits; metrics never use it."""


AnyDistillation = Annotated[
    Annotated[DistillationTraining, Tag(UNCONDITIONAL)] | Annotated[FeatureDistillation, Tag(CONDITIONAL)],
    Discriminator(kind_of_training),
]
"""A section that names a `framework` distils a conditional generator."""


def _known_distance(name: str) -> str:
    if name not in DISTANCES:
        raise ValueError(DISTANCES.unknown(name))
    return name


Distances = Annotated[
    dict[Annotated[RegisteredName, AfterValidator(_known_distance)], PositiveWeight],
    Field(min_length=1, max_length=16),
]
"""Weight of each distance by its name."""


class StudentItem(GeneratorItem):
    """One student: its size and its loss."""

    loss: Literal["mse", "joint", "gan_compression"]
    """Loss: `mse` and `joint` distil from latents; `gan_compression` is the full objective of student.training."""
    distances: Distances | None = None
    """Distances to the teacher's images and their weights, e.g. `{absolute: 1, wavelet: 1}`; the loss `mse` is their
    sum, and the joint loss has it in place of the MSE. None: the mean squared error, `{squared: 1}`. `squared`,
    `absolute` and `wavelet` compare the images of one latent; `activations` compares what the teacher's discriminator
    computes from them; `dime` compares the distributions of its features."""
    alpha: ShareInside = 0.0001
    """Weight of the adversarial term of the joint loss (eq. 4)."""
    gradient_ratio: PositiveWeight | None = None
    """Joint loss: the adversarial term is weighted in each step so that the norm of its gradient at the images is this
    multiple of the MSE's; `alpha` is then ignored. None uses `alpha`."""


class StudentConfig(Section):
    """Distillation of smaller generators from the teacher (eq. 3 and 4)."""

    training: AnyDistillation
    adversarial: JointTraining
    """Settings of the discriminator of the joint loss."""
    items: dict[ItemName, StudentItem] = Field(min_length=1, max_length=MAX_ITEMS)


class ControlConfig(Section):
    """Regular GANs of the students' sizes, trained without a teacher."""

    training: AnyTraining
    items: dict[ItemName, GeneratorItem] = Field(min_length=1, max_length=MAX_ITEMS)


Choices = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=256)]
"""Values that one position of a spec may take."""


class SupernetConfig(Section):
    """The once-for-all generator distilled from the teacher."""

    family: GeneratorName = "wdcgan"
    """Generator family, with the options of its spec text if it has any: `mobile_spade:upsampling=normal`."""
    widths: Annotated[tuple[Choices, ...], Field(strict=False, min_length=1, max_length=1024)]
    """Values that each position of a spec may take, in ascending order: one list for all positions, or one list per
    position."""
    initial: Literal["random", "teacher"] = "random"
    """`teacher`: the widest network starts as the teacher, its channels ordered by importance."""
    sandwich: bool
    """Train the largest and smallest sub-generator in each step in addition to the random ones."""
    random_specs: Steps
    """Number of sub-generators that are sampled uniformly in each step."""
    training: AnyDistillation

    @field_validator("widths", mode="before")
    @classmethod
    def _one_list(cls, content: object) -> object:
        """Read `[2, 4, 8]` as one list for all positions."""
        flat = (
            isinstance(content, list | tuple) and content and not any(isinstance(one, list | tuple) for one in content)
        )
        return [content] if flat else content

    @model_validator(mode="after")
    def _ascending(self) -> "SupernetConfig":
        for numbers in self.widths:
            if not numbers or list(numbers) != sorted(set(numbers)) or numbers[0] < 1:
                raise ValueError(f"widths must be ascending and at least 1, found {list(numbers)}")
        return self
