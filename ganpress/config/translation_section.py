"""Sections of the training of conditional generators: teachers, controls and distillation by GAN Compression."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ganpress.config.base import Section
from ganpress.config.bounds import (
    BatchSize,
    FilePath,
    HalfLife,
    ImagesShown,
    LayerName,
    Layers,
    LearningRate,
    LossWeight,
    Momentum,
    PoolImages,
    Share,
    ShareInside,
    Width,
)

Objective = Literal["vanilla", "lsgan", "hinge"]
Opponent = Literal["inherited", "slowed", "fresh", "none"]
SLOWED = 0.1
"""Factor on the learning rate of a slowed discriminator."""


class Adversarial(Section):
    """Settings of training against a patch discriminator, for teachers and distillation alike."""

    train_images: ImagesShown
    """Training length as a number of source images shown."""
    batch_size: BatchSize
    learning_rate: LearningRate
    discriminator_learning_rate: LearningRate
    """Learning rate of the discriminator; a value that differs from the generator's gives the two time-scale update
    rule."""
    beta1: Momentum
    beta2: ShareInside = 0.999
    decay_fraction: Share = 0.5
    """Last share of the training over which the learning rates fall linearly to zero."""
    objective: Objective
    """`vanilla`: cross-entropy; `lsgan`: least squares (CycleGAN); `hinge` (GauGAN, and paired GAN Compression)."""
    lambda_feature_matching: LossWeight = 0
    """Weight of the distance between the discriminator's features of real and generated images (paired data)."""
    lambda_perceptual: LossWeight = 0
    perceptual_weights: FilePath | None = None
    """Local file of VGG19 or SqueezeNet weights, needed where lambda_perceptual is above 0; nothing is downloaded."""
    ema_half_life_images: HalfLife = 0
    bf16: bool = False
    """Compute convolutions in bfloat16 while training, with weights in float32: faster and with less memory on GPUs
    and on CPUs with AMX or AVX512-BF16, slower on others. The trained generator is float32 in any case."""
    tf32: bool = False
    """Products in TF32 while training, on an NVIDIA GPU: faster, and rounded to 10 bits; never while measuring."""

    @model_validator(mode="after")
    def _perceptual(self) -> "Adversarial":
        if self.lambda_perceptual > 0 and self.perceptual_weights is None:
            raise ValueError("lambda_perceptual above 0 needs perceptual_weights, the file of a feature network")
        return self


class TranslationTraining(Adversarial):
    """Adversarial training of a conditional generator on data, for candidates and controls."""

    framework: Literal["pix2pix", "cyclegan", "spade"]
    """`pix2pix` for paired, `cyclegan` for unpaired, `spade` for semantic data."""
    ndf: Width
    """Number of channels of the discriminator's first layer."""
    discriminator_layers: Layers = 3
    discriminator_scales: Layers = 1
    lambda_recon: LossWeight = 0
    """pix2pix: weight of the L1 distance to the truth."""
    lambda_cycle: LossWeight = 0
    lambda_identity: LossWeight = 0
    """CycleGAN: weight of the identity loss relative to lambda_cycle."""
    pool_images: PoolImages = 0
    """CycleGAN: number of generated images in the history of each discriminator; 0 shows it only the newest."""

    @model_validator(mode="after")
    def _belongs(self) -> "TranslationTraining":
        of_cyclegan = {"lambda_cycle", "lambda_identity", "pool_images"}
        foreign = (of_cyclegan if self.framework != "cyclegan" else {"lambda_recon", "lambda_feature_matching"}) | (
            {"lambda_recon"} if self.framework == "spade" else set()
        )
        wrong = sorted(name for name in foreign if getattr(self, name))
        if wrong:
            raise ValueError(
                f"framework '{self.framework}' does not use {', '.join(wrong)}; leave them out or set them to 0"
            )
        if self.framework == "cyclegan" and self.lambda_cycle == 0:
            raise ValueError("framework 'cyclegan' needs lambda_cycle above 0 (published: 10)")
        return self


class FeatureDistillation(Adversarial):
    """Distillation of a conditional student, supernet or sub-generator (Li et al. 2020, section 3.1)."""

    framework: Literal["gan_compression"]
    discriminator: Opponent = "inherited"
    """Discriminator that the student is trained against. `inherited`: the teacher's discriminator with its trained
    weights, as published; `slowed`: the same at a tenth of its learning rate; `fresh`: a newly initialised one of the
    same architecture; `none`: no discriminator, and the terms that need one are left out."""
    lambda_adversarial: LossWeight = 1
    """Weight of the adversarial term."""
    lambda_recon: LossWeight
    """Weight of the distance to the truth (paired) or to the teacher's image (unpaired)."""
    lambda_distill: LossWeight
    """Weight of the distance of intermediate features to the teacher's."""
    distance: Literal["l1", "l2"] = "l1"
    """Distance of the reconstruction term."""
    taps: Annotated[tuple[LayerName, ...], Field(strict=False, max_length=64)] | None = None
    """Layers whose features are matched; None uses the family's published ones."""

    @model_validator(mode="after")
    def _alone(self) -> "FeatureDistillation":
        if self.discriminator == "none" and self.lambda_feature_matching > 0:
            raise ValueError("lambda_feature_matching needs a discriminator, but discriminator is 'none': set it to 0")
        return self

    @property
    def opponent_learning_rate(self) -> float:
        """Return the learning rate of the discriminator: a tenth of the configured one if it is slowed."""
        return self.discriminator_learning_rate * (SLOWED if self.discriminator == "slowed" else 1)

    @property
    def needs_discriminator(self) -> bool:
        """Return whether a term of the loss needs a discriminator."""
        return self.discriminator != "none" and (self.lambda_adversarial > 0 or self.lambda_feature_matching > 0)


def kind_of_training(content: Any) -> str:
    """Distinguish conditional sections, which name a `framework`, from unconditional ones, for pydantic's
    `Discriminator`.
    """
    named = "framework" in content if isinstance(content, dict) else hasattr(content, "framework")
    return CONDITIONAL if named else UNCONDITIONAL


CONDITIONAL, UNCONDITIONAL = "conditional", "unconditional"
