"""One step of adversarial training where each source has a target: pix2pix and SPADE.

Shapes: source (N, Cs, h, w) is an image in [-1, 1] or a one-hot label map, target (N, C, H, W) an image in [-1, 1].
"""

from jaxtyping import Float
from torch import Tensor, nn, optim
from torch.nn import functional

from ganpress.config.translation_section import TranslationTraining
from ganpress.training.adversary import TranslationAdversary
from ganpress.training.arithmetic import autocast
from ganpress.training.loop import Losses, Stateful
from ganpress.training.perceptual import PerceptualLoss
from ganpress.training.schedule import LinearDecay
from ganpress.training.terms import Term, reported, weighted_sum


class PairedStep:
    """One step of pix2pix (Isola et al. 2017) and of SPADE (Park et al. 2019), which differ in their weights only.

    L = L_cGAN + lambda_recon |G(x) - y|_1 (pix2pix, eq. 4) + lambda_feature_matching L_FM + lambda_perceptual L_VGG
    (SPADE, section 3 and appendix A). The discriminator is conditional: it sees the source beside the image.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        config: TranslationTraining,
        perceptual: PerceptualLoss | None = None,
    ) -> None:
        self._generator, self._config, self._perceptual = generator, config, perceptual
        self._optimizer = optim.Adam(generator.parameters(), config.learning_rate, (config.beta1, config.beta2))
        self._adversary = TranslationAdversary(discriminator, config, conditional=True)
        self.state: dict[str, Stateful] = {
            "discriminator": discriminator,
            "generator_optimizer": self._optimizer,
            "discriminator_optimizer": self._adversary.optimizer,
        }
        rates = (
            (self._optimizer, config.learning_rate),
            (self._adversary.optimizer, config.discriminator_learning_rate),
        )
        self.schedules = [LinearDecay(one, rate, config.train_images, config.decay_fraction) for one, rate in rates]

    def __call__(self, source: Float[Tensor, "n c_s h_s w_s"], target: Float[Tensor, "n c h w"]) -> Losses:
        """Update the discriminator, then the generator."""
        with autocast(self._config, source.device):
            fake = self._generator(source)
        discriminator_loss = self._adversary.update(source, target, fake)
        with autocast(self._config, source.device):
            terms = self.terms(source, target, fake)
        self._optimizer.zero_grad(set_to_none=True)
        weighted_sum(terms).backward()
        self._optimizer.step()
        return reported(terms) | {"discriminator_loss": discriminator_loss}

    def terms(
        self, source: Float[Tensor, "n c_s h_s w_s"], target: Float[Tensor, "n c h w"], fake: Float[Tensor, "n c h w"]
    ) -> dict[str, Term]:
        """Return the weighted terms of the generator's loss; gradients reach the generator only."""
        config = self._config
        terms = {}
        if config.lambda_feature_matching > 0:
            judged = self._adversary.generator_terms(source, target, fake)
            terms["adversarial"] = Term(1.0, judged.adversarial)
            terms["feature_matching"] = Term(config.lambda_feature_matching, judged.feature_matching)
        else:
            terms["adversarial"] = Term(1.0, self._adversary.generator_loss(source, fake))
        if config.lambda_recon > 0:
            terms["recon"] = Term(config.lambda_recon, functional.l1_loss(fake, target))
        if self._perceptual is not None:
            terms["perceptual"] = Term(config.lambda_perceptual, self._perceptual(fake, target))
        return terms
