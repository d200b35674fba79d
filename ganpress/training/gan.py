"""Adversarial training of one generator: GAN or WGAN, for teacher candidates and controls."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn, optim

from ganpress.basics.device import device_of, moved
from ganpress.basics.ranks import own_rows
from ganpress.config.training_section import AdversaryTraining, GanTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.read_ahead import ahead_for
from ganpress.training.arithmetic import autocast
from ganpress.training.augmentation import augmented, draw_changes
from ganpress.training.ema import WeightAverage, recalibrate_batch_norm_
from ganpress.training.loop import CurvePoint, Losses, RandomStream, Stateful, TrainingRun
from ganpress.training.losses import (
    gan_discriminator_loss,
    gan_generator_loss,
    gradient_penalty,
    penalty_shares,
    r3gan_discriminator_loss,
    r3gan_generator_loss,
    wgan_critic_loss,
    wgan_generator_loss,
    zero_centred_penalty,
)
from models.family import latent_of

CALIBRATION_LATENTS = 2000
"""Latents that the averaged generator's normalisation statistics are measured on."""


DISCRIMINATOR_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gan": gan_discriminator_loss,
    "wgan": wgan_critic_loss,
    "r3gan": r3gan_discriminator_loss,
}


class Adversary:
    """A discriminator or critic with its optimizer: one half of every adversarial objective."""

    def __init__(
        self,
        discriminator: nn.Module,
        config: AdversaryTraining,
        noise: torch.Generator,
        learning_rate: float | None = None,
    ) -> None:
        self.discriminator = discriminator.train().to(memory_format=torch.channels_last)
        self.config = config
        rate = learning_rate or config.discriminator_learning_rate
        self.optimizer = adversarial_optimizer(discriminator, rate, config)
        self._noise = noise
        self._discriminator_loss = DISCRIMINATOR_LOSSES[config.objective]

    def update(self, real: Float[Tensor, "n c h w"], fake: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        """Train the discriminator to tell `real` from `fake`; returns its detached loss."""
        self.discriminator.requires_grad_(True)
        real, fake = self._shown(real), self._shown(fake)
        loss = self._discriminator_loss(self._judged(real), self._judged(fake))
        if self.config.gradient_penalty is not None:
            loss = loss + self.config.gradient_penalty * self._penalty(real, fake)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.config.weight_clip is not None:
            clip_weights_(self.discriminator, self.config.weight_clip)
        return loss.detach()

    def draw(self, stream: torch.Generator, batch_size: int, generator_too: bool = True) -> None:
        """Draw from a stream what an update on a whole batch, and the generator's loss, draw from their own."""
        self._draw_changes(stream, batch_size, 2)
        if self.config.gradient_penalty is not None and self.config.objective == "wgan":
            penalty_shares(batch_size, stream)
        if generator_too:
            self._draw_changes(stream, batch_size, 2 if self.config.objective == "r3gan" else 1)

    def _draw_changes(self, stream: torch.Generator, batch_size: int, times: int) -> None:
        for _ in range(times if self.config.augment != "none" else 0):
            draw_changes(stream, batch_size)

    def _penalty(self, real: Float[Tensor, "n c h w"], fake: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        if self.config.objective == "r3gan":
            return (zero_centred_penalty(self.discriminator, real) + zero_centred_penalty(self.discriminator, fake)) / 2
        return gradient_penalty(self.discriminator, real, fake, self._noise)

    def generator_loss(self, fake: Float[Tensor, "n c h w"], real: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        """Return the adversarial loss of `fake`, possibly relative to `real`; gradients reach only the generator."""
        self.discriminator.requires_grad_(False)
        fake = self._shown(fake)
        if self.config.objective == "r3gan":
            with torch.no_grad():
                judged = self._judged(self._shown(real))
            return r3gan_generator_loss(judged, self._judged(fake))
        loss = wgan_generator_loss if self.config.objective == "wgan" else gan_generator_loss
        return loss(self._judged(fake))

    def _shown(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The images as the discriminator sees them."""
        return images if self.config.augment == "none" else augmented(images, self._noise)

    def _judged(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n ..."]:
        with autocast(self.config, images.device):
            logits: Tensor = self.discriminator(images)
        return logits.float()


@torch.no_grad()
def clip_weights_(critic: nn.Module, limit: float) -> None:
    """Clip every weight and bias to [-limit, limit] (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in critic.parameters():
        parameter.clamp_(-limit, limit)


def adversarial_optimizer(module: nn.Module, learning_rate: float, config: AdversaryTraining) -> optim.Optimizer:
    """RMSprop for a clipped critic, since momentum makes it unstable (Arjovsky et al. 2017, section 4); else Adam."""
    if config.weight_clip is not None:
        return optim.RMSprop(module.parameters(), learning_rate)
    beta2 = 0.9 if config.gradient_penalty is not None else 0.999
    return optim.Adam(module.parameters(), learning_rate, (config.beta1, beta2))


@dataclass(frozen=True)
class TrainedGan:
    """The outcome: averaged, calibrated generator in eval mode; its discriminator; the loss curve."""

    generator: nn.Module
    discriminator: nn.Module
    curve: list[CurvePoint]


def train_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    images: ImageArray,
    config: GanTraining,
    run: TrainingRun,
) -> TrainedGan:
    """Train `generator` (N, Z) -> (N, C, H, W) against `discriminator` on `images`, on the device of the networks.

    Raises:
        DataError: if there are fewer images than one batch.
        TrainingDiverged: if a loss is not finite.
    """
    random, device, latent = run.stream("training"), device_of(generator), latent_of(generator)
    generator.train().to(memory_format=torch.channels_last)
    adversary = Adversary(discriminator, config, random)
    optimizer = adversarial_optimizer(generator, config.generator_learning_rate, config)
    average = WeightAverage(generator, config.ema_half_life_images)
    share = own_rows(config.batch_size)

    def draw_latents(stream: torch.Generator) -> Float[Tensor, "n z"]:
        return torch.randn((config.batch_size, latent), generator=stream)

    def draw_rest(stream: torch.Generator) -> None:
        draw_latents(stream)
        adversary.draw(stream, config.batch_size, config.discriminator_steps == 1)

    batches = images.random_batches(random, config.batch_size, share, ahead_for(device, draw_rest))
    images_per_step = config.batch_size * config.discriminator_steps

    def step(images_shown: int) -> Losses:
        # Discriminator.
        for phase in range(config.discriminator_steps):
            real = moved(next(batches), device, torch.channels_last)
            z = moved(draw_latents(random)[share], device)
            last = phase == config.discriminator_steps - 1
            with torch.set_grad_enabled(last), autocast(config, z.device):  # the last fakes train the generator too
                fake = generator(z).float()
            discriminator_loss = adversary.update(real, fake.detach())
        # Generator.
        generator_loss = adversary.generator_loss(fake, real)
        optimizer.zero_grad(set_to_none=True)
        generator_loss.backward()
        optimizer.step()
        average.update(images_shown + images_per_step, images_per_step)
        return {"generator_loss": generator_loss.detach(), "discriminator_loss": discriminator_loss}

    state: dict[str, Stateful] = {
        "generator": generator,
        "discriminator": discriminator,
        "generator_optimizer": optimizer,
        "discriminator_optimizer": adversary.optimizer,
        "average": average,
        "random": RandomStream(random),
    }
    curve = run.train(generator, step, state, config, images_per_step)
    latents = torch.randn((CALIBRATION_LATENTS, latent), generator=run.stream("calibration"))
    averaged = recalibrate_batch_norm_(average.averaged(generator), latents.to(device))
    return TrainedGan(averaged, discriminator.requires_grad_(True).eval(), curve)
