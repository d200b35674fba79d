"""Losses of adversarial training and distillation; each is a function of logits or images that reads as its paper.

Logits and critic values are (N,); images are (N, C, H, W) in [-1, 1]; every loss is a scalar.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def gan_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))), with D = sigmoid(logits) (Goodfellow et al. 2014)."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def gan_generator_loss(fake_logits: Tensor) -> Tensor:
    """-E log D(G(z)), the non-saturating form (Goodfellow et al. 2014, section 3)."""
    return functional.softplus(-fake_logits).mean()


def wgan_critic_loss(real_values: Tensor, fake_values: Tensor) -> Tensor:
    """E f(G(z)) - E f(x), minus the Wasserstein estimate (Arjovsky et al. 2017, eq. 3)."""
    return fake_values.mean() - real_values.mean()


def wgan_generator_loss(fake_values: Tensor) -> Tensor:
    """-E f(G(z)) (Arjovsky et al. 2017)."""
    return -fake_values.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, generator: torch.Generator
) -> Tensor:
    """E (||grad f(x_hat)||_2 - 1)^2 on lines between real and fake images (Gulrajani et al. 2017, eq. 3).

    Raises:
        ValueError: if the two batches differ in shape.
    """
    if real.shape != fake.shape:
        raise ValueError(f"gradient penalty needs equal batches, got {tuple(real.shape)} and {tuple(fake.shape)}")
    share = torch.rand((len(real), 1, 1, 1), generator=generator).to(real.device)
    between = torch.lerp(real, fake, share).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms: Tensor = slope.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def distillation_loss(student_images: Tensor, teacher_images: Tensor) -> Tensor:
    """E_z ||g_teacher(z) - g_student(z)||^2 as a mean over pixels (Aguinaldo et al. 2019, eq. 3)."""
    return functional.mse_loss(student_images, teacher_images)


def joint_loss(adversarial: Tensor, distillation: Tensor, alpha: float) -> Tensor:
    """Alpha * adversarial + (1 - alpha) * MSE (Aguinaldo et al. 2019, eq. 4).

    The paper does not say whether its squared norm is a sum or a mean over pixels; with alpha = 0.0001 only the mean
    leaves the adversarial term a visible effect, which the paper's figure 10 shows, so the mean it is.

    Raises:
        ValueError: if alpha lies outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, found {alpha}")
    return alpha * adversarial + (1 - alpha) * distillation
