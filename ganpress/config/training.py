"""Sections about training: teachers, students, controls, supernet."""

from typing import Literal

from pydantic import Field, model_validator

from ganpress.config.base import Section


class AdversaryTraining(Section):
    """How a discriminator or critic is trained."""

    objective: Literal["gan", "wgan"]
    """`gan`: non-saturating DCGAN loss; `wgan`: critic loss with weight clipping or a gradient penalty."""
    discriminator_learning_rate: float = Field(gt=0)
    beta1: float = Field(ge=0, lt=1)
    weight_clip: float | None = Field(default=None, gt=0)
    """WGAN: clip critic weights to [-c, c] after each step (Arjovsky 2017)."""
    gradient_penalty: float | None = Field(default=None, gt=0)
    """WGAN: weight of the gradient penalty instead of clipping (Gulrajani 2017)."""

    @model_validator(mode="after")
    def _lipschitz(self) -> "AdversaryTraining":
        if self.objective == "wgan" and (self.weight_clip is None) == (self.gradient_penalty is None):
            raise ValueError("objective 'wgan' needs exactly one of weight_clip and gradient_penalty")
        if self.objective == "gan" and (self.weight_clip or self.gradient_penalty):
            raise ValueError("objective 'gan' takes neither weight_clip nor gradient_penalty")
        return self


class GanTraining(AdversaryTraining):
    """Adversarial training of one generator, shared by candidates and controls."""

    train_images: int = Field(ge=1)
    """Training length in real images shown."""
    batch_size: int = Field(ge=2)
    generator_learning_rate: float = Field(gt=0)
    discriminator_steps: int = Field(ge=1)
    """Discriminator or critic updates for each generator update."""
    ema_half_life_images: int = Field(ge=0)
    """Half-life of the exponential moving average of generator weights, in images; 0 switches it off."""


class DepthItem(Section):
    """A generator of one depth scale factor."""

    depth: int = Field(ge=1)


class CandidateConfig(Section):
    """The teacher family: one GAN for each depth."""

    training: GanTraining
    items: dict[str, DepthItem] = Field(min_length=1)


class TeacherConfig(Section):
    """How the best candidate is chosen."""

    metric: Literal["is", "fid"]
    images: int = Field(ge=2)
    """Generated images that each candidate is scored on, against the validation split."""


class DistillationTraining(Section):
    """Training of a student from the teacher's images, or jointly with a discriminator."""

    train_images: int = Field(ge=1)
    """Training length in latents shown."""
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    """Peak learning rate; it decays to zero along a cosine."""
    beta1: float = Field(ge=0, lt=1)
    ema_half_life_images: int = Field(ge=0)


class StudentItem(Section):
    """One student: its depth and its loss."""

    depth: int = Field(ge=1)
    loss: Literal["mse", "joint"]
    alpha: float = Field(default=0.0001, gt=0, lt=1)
    """Weight of the adversarial term of the joint loss (eq. 4)."""


class StudentConfig(Section):
    """Distillation of smaller generators from the teacher (eq. 3 and 4)."""

    training: DistillationTraining
    adversarial: AdversaryTraining
    """How the joint loss trains the discriminator that it inherits from the teacher: one update a step."""
    items: dict[str, StudentItem] = Field(min_length=1)


class ControlConfig(Section):
    """Regular GANs of the students' sizes, trained without a teacher."""

    training: GanTraining
    items: dict[str, DepthItem] = Field(min_length=1)


class SupernetConfig(Section):
    """The once-for-all generator distilled from the teacher."""

    depths: tuple[int, ...] = Field(min_length=1)
    """Widths that each level may take, as depth scale factors, ascending."""
    sandwich: bool
    """Train the largest and smallest sub-generator in each step beside the random ones."""
    random_specs: int = Field(ge=1)
    """Sub-generators sampled uniformly in each step."""
    training: DistillationTraining

    @model_validator(mode="after")
    def _ascending(self) -> "SupernetConfig":
        if list(self.depths) != sorted(set(self.depths)) or self.depths[0] < 1:
            raise ValueError(f"depths must be ascending and at least 1, found {list(self.depths)}")
        return self
