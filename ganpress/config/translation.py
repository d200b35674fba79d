"""Sections about training conditional generators: teachers and controls, and distillation by GAN Compression."""

from typing import Any, Literal

from pydantic import Field, model_validator

from ganpress.config.base import Section

Objective = Literal["vanilla", "lsgan", "hinge"]


class Adversarial(Section):
    """What training against a patch discriminator takes, in teachers and in distillation alike."""

    train_images: int = Field(ge=1)
    """Training length in source images shown."""
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    """Another one than the generator's is the two time-scale update rule."""
    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(default=0.999, gt=0, lt=1)
    decay_fraction: float = Field(default=0.5, ge=0, le=1)
    """Share of the training, its last part, over which the learning rates fall linearly to zero."""
    objective: Objective
    """`vanilla`: cross-entropy; `lsgan`: least squares (CycleGAN); `hinge` (GauGAN, and paired GAN Compression)."""
    lambda_feature_matching: float = Field(default=0, ge=0)
    """Weight of the distance between the discriminator's features of real and made images (paired data)."""
    lambda_perceptual: float = Field(default=0, ge=0)
    perceptual_weights: str | None = None
    """Local file of VGG19 or SqueezeNet weights, needed where lambda_perceptual is above 0; nothing is downloaded."""
    ema_half_life_images: int = Field(default=0, ge=0)
    bf16: bool = False
    """Convolutions in bfloat16 while training, weights in float32: faster and smaller on GPUs and on CPUs with AMX or
    AVX512-BF16, slower on others. The trained generator is float32 as ever."""

    @model_validator(mode="after")
    def _perceptual(self) -> "Adversarial":
        if self.lambda_perceptual > 0 and self.perceptual_weights is None:
            raise ValueError("lambda_perceptual above 0 needs perceptual_weights, the file of a feature network")
        return self


class TranslationTraining(Adversarial):
    """Adversarial training of a conditional generator on data, for candidates and controls."""

    framework: Literal["pix2pix", "cyclegan", "spade"]
    """`pix2pix` for paired, `cyclegan` for unpaired, `spade` for semantic data."""
    ndf: int = Field(ge=1)
    """Channels of the discriminator's first layer."""
    discriminator_layers: int = Field(default=3, ge=1)
    discriminator_scales: int = Field(default=1, ge=1)
    lambda_recon: float = Field(default=0, ge=0)
    """pix2pix: weight of the L1 distance to the truth."""
    lambda_cycle: float = Field(default=0, ge=0)
    lambda_identity: float = Field(default=0, ge=0)
    """CycleGAN: weight of the identity loss relative to lambda_cycle."""
    pool_images: int = Field(default=0, ge=0)
    """CycleGAN: made images that each discriminator's history holds; 0 shows it the newest only."""

    @model_validator(mode="after")
    def _belongs(self) -> "TranslationTraining":
        of_cyclegan = {"lambda_cycle", "lambda_identity", "pool_images"}
        foreign = (of_cyclegan if self.framework != "cyclegan" else {"lambda_recon", "lambda_feature_matching"}) | (
            {"lambda_recon"} if self.framework == "spade" else set()
        )
        wrong = sorted(name for name in foreign if getattr(self, name))
        if wrong:
            raise ValueError(f"framework '{self.framework}' takes no {', '.join(wrong)}; leave them out or at 0")
        if self.framework == "cyclegan" and self.lambda_cycle == 0:
            raise ValueError("framework 'cyclegan' needs lambda_cycle above 0 (published: 10)")
        return self


class FeatureDistillation(Adversarial):
    """Distillation of a conditional student, supernet or sub-generator (Li et al. 2020, section 3.1)."""

    framework: Literal["gan_compression"]
    lambda_adversarial: float = Field(default=1, ge=0)
    """0 trains without a discriminator, as a teacher that was imported without one must."""
    lambda_recon: float = Field(ge=0)
    """Weight of the distance to the truth (paired) or to the teacher's image (unpaired)."""
    lambda_distill: float = Field(ge=0)
    """Weight of the distance of intermediate features to the teacher's."""
    distance: Literal["l1", "l2"] = "l1"
    """Of the reconstruction term."""
    taps: tuple[str, ...] | None = None
    """Layers whose features are matched; None takes the family's published ones."""


def kind_of_training(content: Any) -> str:
    """Tell conditional sections, which name a `framework`, from unconditional ones; for pydantic's `Discriminator`."""
    named = "framework" in content if isinstance(content, dict) else hasattr(content, "framework")
    return CONDITIONAL if named else UNCONDITIONAL


CONDITIONAL, UNCONDITIONAL = "conditional", "unconditional"
