"""The adversary of conditional generators: a discriminator of patches, its objective and its optimizer.

Shared by the training of teachers and by distillation. Shapes: N batch, Cs and C channels of source and target.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn, optim
from torch.nn import functional

from ganpress.config.translation_section import Adversarial, Objective
from ganpress.training.arithmetic import autocast
from ganpress.training.losses import (
    feature_matching_loss,
    gan_discriminator_loss,
    gan_generator_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
)


class FeatureDiscriminator(Protocol):
    """Judges images at one or several scales."""

    def features(self, x: Float[Tensor, "n c h w"], /) -> list[list[Float[Tensor, "n _ _ _"]]]:
        """Return the layers' outputs for each scale, logits last."""


@dataclass(frozen=True)
class _ObjectiveLosses:
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


_OBJECTIVES: dict[Objective, _ObjectiveLosses] = {
    # Halved, which slows the discriminator down against the generator (Isola et al. 2017, section 3.3).
    "vanilla": _ObjectiveLosses(lambda real, fake: 0.5 * gan_discriminator_loss(real, fake), gan_generator_loss),
    "lsgan": _ObjectiveLosses(lsgan_discriminator_loss, lsgan_generator_loss),
    "hinge": _ObjectiveLosses(hinge_discriminator_loss, hinge_generator_loss),
}


@dataclass(frozen=True)
class GeneratorTerms:
    """Loss terms of one batch of generated images; gradients reach only the generator."""

    adversarial: Tensor
    """Adversarial loss of the generated images."""
    feature_matching: Tensor
    """Distance of their features to those of the real images."""


class TranslationAdversary:
    """A discriminator of images, conditional on their sources or not, with its optimizer.

    A conditional discriminator reads (source, image) as one stack of Cs + C channels (Isola et al. 2017, section 3.1);
    sources of another size than the images (super-resolution) are resized to them. Real and fake images pass in
    batches of their own, so a discriminator with batch norm normalises each by its own statistics. Losses are averaged
    over patches and over scales.
    """

    def __init__(
        self, discriminator: nn.Module, config: Adversarial, conditional: bool, learning_rate: float | None = None
    ) -> None:
        self.discriminator = discriminator.train()
        self.conditional = conditional
        self._config, betas = config, (config.beta1, config.beta2)
        rate = learning_rate or config.discriminator_learning_rate
        self.optimizer = optim.Adam(discriminator.parameters(), rate, betas)
        self._losses = _OBJECTIVES[config.objective]

    def update(
        self, source: Float[Tensor, "n c_s h_s w_s"], real: Float[Tensor, "n c h w"], fake: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, ""]:
        """Train the discriminator to tell `real` from `fake`; returns its detached loss.

        Args:
            source: what both images belong to; not read if the adversary is unconditional.
            real: target images.
            fake: generated images; detached here.
        """
        self.discriminator.requires_grad_(True)
        with autocast(self._config, source.device):
            real_scales, fake_scales = self._features(source, real), self._features(source, fake.detach())
        logits = [(ours[-1].float(), theirs[-1].float()) for ours, theirs in zip(real_scales, fake_scales, strict=True)]
        loss = torch.stack([self._losses.discriminator(*both) for both in logits]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def generator_loss(
        self, source: Float[Tensor, "n c_s h_s w_s"], fake: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, ""]:
        """Return the adversarial loss of `fake`; gradients reach only the generator."""
        self.discriminator.requires_grad_(False)
        return self._adversarial(self._features(source, fake))

    def feature_matching(
        self, source: Float[Tensor, "n c_s h_s w_s"], real: Float[Tensor, "n c h w"], fake: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, ""]:
        """Distance between the discriminator's features of `fake` and `real`."""
        return self.generator_terms(source, real, fake).feature_matching

    def generator_terms(
        self, source: Float[Tensor, "n c_s h_s w_s"], real: Float[Tensor, "n c h w"], fake: Float[Tensor, "n c h w"]
    ) -> GeneratorTerms:
        """Return both terms above from one pass of the discriminator over the fakes."""
        self.discriminator.requires_grad_(False)
        fake_scales = self._features(source, fake)
        with torch.no_grad():
            real_scales = self._features(source, real)
        return GeneratorTerms(self._adversarial(fake_scales), feature_matching_loss(fake_scales, real_scales))

    def _adversarial(self, scales: list[list[Float[Tensor, "n _ _ _"]]]) -> Float[Tensor, ""]:
        return torch.stack([self._losses.generator(layers[-1].float()) for layers in scales]).mean()

    def _features(
        self, source: Float[Tensor, "n c_s h_s w_s"], images: Float[Tensor, "n c h w"]
    ) -> list[list[Float[Tensor, "n _ _ _"]]]:
        discriminator = cast(FeatureDiscriminator, self.discriminator)
        return discriminator.features(conditioned(source, images) if self.conditional else images)


def conditioned(
    source: Float[Tensor, "n c_s h_s w_s"], images: Float[Tensor, "n c h w"]
) -> Float[Tensor, "n c_s+c h w"]:
    """Stack the channels of sources and images, what a conditional discriminator reads.

    Sources of another size are resized to the nearest pixel, which keeps label maps one-hot.
    """
    if source.shape[-2:] != images.shape[-2:]:
        source = functional.interpolate(source, size=images.shape[-2:], mode="nearest")
    return torch.cat((source, images), dim=1)
