"""Objective of conditional distillation (Li et al. 2020, section 3.1), for paired and unpaired data alike.

L = lambda_adversarial L_cGAN + lambda_recon L_recon + lambda_distill L_distill, and for label maps the terms that their
teachers are trained on (Park et al. 2019): + lambda_feature_matching L_FM + lambda_perceptual L_VGG.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ganpress.config.translation_section import FeatureDistillation
from ganpress.errors import ConfigError
from ganpress.training.adversary import TranslationAdversary
from ganpress.training.feature_matching import FeatureAdaptors, Features
from ganpress.training.perceptual import PerceptualLoss


@dataclass(frozen=True)
class Batch:
    """The data of one step for all students: one batch, and the teacher's results for it."""

    source: Tensor
    """(N, Cs, h, w)."""
    real: Tensor
    """Target images (N, C, H, W); of the same rows as the source only if the data is paired."""
    truth: Tensor
    """Targets of the student's images (N, C, H, W): `real` if paired, else the teacher's images."""
    features: Features
    """The teacher's, at the taps."""


class TranslationObjective:
    """The weighted terms of one student's images; terms of weight 0 are not computed.

    Args:
        config: weights of the terms.
        adaptors: 1x1 convolutions at the taps; None leaves L_distill out.
        discriminator: what the student is trained against; None where there is none.
        paired: whether a source has a target of its own.

    Raises:
        ConfigError: if a term has a weight and lacks the discriminator or the pairs that it needs.
        CheckpointError: if the weights of the perceptual loss cannot be read.
    """

    def __init__(
        self,
        config: FeatureDistillation,
        adaptors: FeatureAdaptors | None,
        discriminator: nn.Module | None,
        paired: bool,
    ) -> None:
        _check_terms(config, discriminator is not None, adaptors is not None, paired)
        self._config, self._adaptors = config, adaptors
        self.adversary: TranslationAdversary | None = None
        if discriminator is not None and config.needs_discriminator:
            self.adversary = TranslationAdversary(discriminator, config, paired, config.opponent_learning_rate)
        self._distance = functional.l1_loss if config.distance == "l1" else functional.mse_loss
        self.perceptual: nn.Module | None = None
        if config.lambda_perceptual > 0 and config.perceptual_weights is not None:
            self.perceptual = PerceptualLoss(Path(config.perceptual_weights))

    def to(self, device: torch.device) -> "TranslationObjective":
        """Move the feature network of the perceptual loss; adaptors and discriminator are where they were built."""
        if self.perceptual is not None:
            self.perceptual.to(device)
        return self

    def terms(self, batch: Batch, images: Float[Tensor, "n c h w"], features: Features) -> dict[str, Float[Tensor, ""]]:
        """Return the unweighted terms for a student's images and features."""
        config, terms = self._config, {}
        if config.lambda_recon > 0:
            terms["recon"] = self._distance(images, batch.truth)
        if self._adaptors is not None:
            terms["distill"] = self._adaptors(features, batch.features)
        if self.adversary is not None and config.lambda_feature_matching > 0:
            both = self.adversary.generator_terms(batch.source, batch.real, images)
            terms |= {"adversarial": both.adversarial, "feature_matching": both.feature_matching}
        elif self.adversary is not None:
            terms["adversarial"] = self.adversary.generator_loss(batch.source, images)
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(images, batch.truth)
        return terms

    def total(self, terms: dict[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Weigh the terms and add them up."""
        weighted: list[Tensor] = [getattr(self._config, f"lambda_{name}") * term for name, term in terms.items()]
        return sum(weighted[1:], weighted[0])


def _check_terms(config: FeatureDistillation, has_discriminator: bool, has_taps: bool, paired: bool) -> None:
    """Check that every term with a weight can be computed.

    Raises:
        ConfigError: naming the weight.
    """
    if config.needs_discriminator and not has_discriminator:
        raise ConfigError(
            f"lambda_adversarial is {config.lambda_adversarial:g} and lambda_feature_matching is "
            f"{config.lambda_feature_matching:g}, but this teacher comes without a discriminator (it was imported): "
            "set discriminator to none, or train the teacher here"
        )
    if config.lambda_feature_matching > 0 and not paired:
        raise ConfigError(
            f"lambda_feature_matching is {config.lambda_feature_matching:g}, which compares a made image with its own "
            "target; unpaired data has none: set it to 0"
        )
    if not (config.needs_discriminator or config.lambda_recon or config.lambda_perceptual or has_taps):
        raise ConfigError(
            "nothing to learn: lambda_adversarial, lambda_recon, lambda_feature_matching and lambda_perceptual are 0, "
            f"and lambda_distill is {config.lambda_distill:g} or has no taps; "
            "set lambda_recon above 0"
        )
