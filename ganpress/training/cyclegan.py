"""One step of CycleGAN: two generators and two discriminators on two unpaired domains (Zhu et al. 2017).

Shapes: a (N, Cs, H, W) is a source image, b (N, C, H, W) a target image; both in [-1, 1].
"""

import itertools
import logging
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn, optim
from torch.nn import functional

from ganpress.basics.ranks import seed_words
from ganpress.config.translation_section import TranslationTraining
from ganpress.training.adversary import TranslationAdversary
from ganpress.training.arithmetic import autocast
from ganpress.training.image_pool import ImagePool
from ganpress.training.loop import Losses, OfEachRank, Stateful, TrainingRun
from ganpress.training.schedule import LinearDecay
from ganpress.training.terms import Term, reported, weighted_sum

logger = logging.getLogger("ganpress")


@dataclass(frozen=True)
class WayBack:
    """The other half of a CycleGAN, target -> source."""

    generator: nn.Module
    """b -> a."""
    discriminator: nn.Module
    """Discriminator of source images."""


class CycleStep:
    """Trains G: a -> b and F: b -> a against discriminators of both domains, which see no source.

    L = L_GAN(G) + L_GAN(F) + lambda_cycle (|F(G(a)) - a| + |G(F(b)) - b|) (eq. 1-3)
      + lambda_cycle lambda_identity (|G(b) - b| + |F(a) - a|) (section 5.2)

    One optimizer trains both generators. Each discriminator sees its fakes through a pool of earlier ones, of which
    each rank has its own. The identity loss is left out, with a warning, where the domains differ in channels.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        back: WayBack,
        config: TranslationTraining,
        run: TrainingRun,
    ) -> None:
        self._forth, self._back, self._config = generator, back.generator.train(), config
        parameters = itertools.chain(generator.parameters(), back.generator.parameters())
        self._optimizer = optim.Adam(parameters, config.learning_rate, (config.beta1, config.beta2))
        self._of_targets = TranslationAdversary(discriminator, config, conditional=False)
        self._of_sources = TranslationAdversary(back.discriminator, config, conditional=False)
        self._pool_of_targets = ImagePool(config.pool_images, run.stream("pool of targets", *seed_words()))
        self._pool_of_sources = ImagePool(config.pool_images, run.stream("pool of sources", *seed_words()))
        self._identity = config.lambda_cycle * config.lambda_identity
        self.state: dict[str, Stateful] = {
            "back_generator": back.generator,
            "discriminator": discriminator,
            "back_discriminator": back.discriminator,
            "generator_optimizer": self._optimizer,
            "discriminator_optimizer": self._of_targets.optimizer,
            "back_discriminator_optimizer": self._of_sources.optimizer,
            "pool_of_targets": OfEachRank(self._pool_of_targets),
            "pool_of_sources": OfEachRank(self._pool_of_sources),
        }
        rates = (
            (self._optimizer, config.learning_rate),
            (self._of_targets.optimizer, config.discriminator_learning_rate),
            (self._of_sources.optimizer, config.discriminator_learning_rate),
        )
        self.schedules = [LinearDecay(one, rate, config.train_images, config.decay_fraction) for one, rate in rates]

    def __call__(self, a: Float[Tensor, "n c_s h_s w_s"], b: Float[Tensor, "n c h w"]) -> Losses:
        """Update both generators, then both discriminators."""
        # Generators.
        with autocast(self._config, a.device):
            fake_b, fake_a = self._forth(a), self._back(b)
            terms = self.terms(a, b, fake_a, fake_b)
        self._optimizer.zero_grad(set_to_none=True)
        weighted_sum(terms).backward()
        self._optimizer.step()
        # Discriminators.
        target_loss = self._of_targets.update(a, b, self._pool_of_targets.exchange(fake_b))
        source_loss = self._of_sources.update(b, a, self._pool_of_sources.exchange(fake_a))
        return reported(terms) | {"discriminator_loss": target_loss, "back_discriminator_loss": source_loss}

    def terms(
        self,
        a: Float[Tensor, "n c_s h_s w_s"],
        b: Float[Tensor, "n c h w"],
        fake_a: Float[Tensor, "n c_s h_s w_s"],
        fake_b: Float[Tensor, "n c h w"],
    ) -> dict[str, Term]:
        """Return the weighted terms of both generators' loss; gradients reach the generators only."""
        cycle = functional.l1_loss(self._back(fake_b), a) + functional.l1_loss(self._forth(fake_a), b)
        terms = {
            "adversarial": Term(1.0, self._of_targets.generator_loss(a, fake_b)),
            "back_adversarial": Term(1.0, self._of_sources.generator_loss(b, fake_a)),
            "cycle": Term(self._config.lambda_cycle, cycle),
        }
        if self._identity > 0 and self._has_identity(a, b):
            identity = functional.l1_loss(self._forth(b), b) + functional.l1_loss(self._back(a), a)
            terms["identity"] = Term(self._identity, identity)
        return terms

    def _has_identity(self, a: Float[Tensor, "n c_s h_s w_s"], b: Float[Tensor, "n c h w"]) -> bool:
        if a.shape[1] == b.shape[1]:
            return True
        logger.warning(
            "the identity loss is left out: sources have %d channels, targets %d; it needs equal numbers",
            a.shape[1],
            b.shape[1],
        )
        self._identity = 0.0
        return False
