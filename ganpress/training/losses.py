"""Losses of adversarial training and distillation; each is a function of logits or images that reads as its paper.

Logits and critic values are one an image, or maps of a discriminator of patches; images are in [-1, 1].
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ganpress.basics.ranks import own_rows, ranks, summed


def gan_discriminator_loss(
    real_logits: Float[Tensor, "n_real ..."], fake_logits: Float[Tensor, "n_fake ..."]
) -> Float[Tensor, ""]:
    """-E log D(x) - E log(1 - D(G(z))), with D = sigmoid(logits) (Goodfellow et al. 2014)."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def gan_generator_loss(fake_logits: Float[Tensor, "n_fake ..."]) -> Float[Tensor, ""]:
    """-E log D(G(z)), the non-saturating form (Goodfellow et al. 2014, section 3)."""
    return functional.softplus(-fake_logits).mean()


def wgan_critic_loss(
    real_values: Float[Tensor, "n_real ..."], fake_values: Float[Tensor, "n_fake ..."]
) -> Float[Tensor, ""]:
    """E f(G(z)) - E f(x), minus the Wasserstein estimate (Arjovsky et al. 2017, eq. 3)."""
    return fake_values.mean() - real_values.mean()


def wgan_generator_loss(fake_values: Float[Tensor, "n_fake ..."]) -> Float[Tensor, ""]:
    """-E f(G(z)) (Arjovsky et al. 2017)."""
    return -fake_values.mean()


def r3gan_discriminator_loss(
    real_logits: Float[Tensor, "*logits"], fake_logits: Float[Tensor, "*logits"]
) -> Float[Tensor, ""]:
    """E softplus(-(D(x) - D(G(z)))), each real image paired with a made one (Jolicoeur-Martineau 2019; Huang et al.
    2024, "The GAN is dead; long live the GAN!", eq. 2).
    """
    return functional.softplus(fake_logits - real_logits).mean()


def r3gan_generator_loss(
    real_logits: Float[Tensor, "*logits"], fake_logits: Float[Tensor, "*logits"]
) -> Float[Tensor, ""]:
    """E softplus(-(D(G(z)) - D(x))), the same game from the other side."""
    return functional.softplus(real_logits - fake_logits).mean()


def zero_centred_penalty(critic: Callable[[Tensor], Tensor], images: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """E ||grad D(x)||_2^2 at real or at made images: R1 and R2 (Mescheder et al. 2018, eq. 9)."""
    at = images.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return slope.square().flatten(1).sum(1).mean()


def lsgan_discriminator_loss(
    real_logits: Float[Tensor, "n_real ..."], fake_logits: Float[Tensor, "n_fake ..."]
) -> Float[Tensor, ""]:
    """E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2 (Mao et al. 2017, eq. 2 with labels 0 and 1)."""
    return 0.5 * (real_logits - 1).square().mean() + 0.5 * fake_logits.square().mean()


def lsgan_generator_loss(fake_logits: Float[Tensor, "n_fake ..."]) -> Float[Tensor, ""]:
    """E (D(G(z)) - 1)^2, without the half, as CycleGAN weighs it (Zhu et al. 2017, section 4)."""
    return (fake_logits - 1).square().mean()


def hinge_discriminator_loss(
    real_logits: Float[Tensor, "n_real ..."], fake_logits: Float[Tensor, "n_fake ..."]
) -> Float[Tensor, ""]:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim and Ye 2017; Miyato et al. 2018, eq. 16)."""
    return functional.relu(1 - real_logits).mean() + functional.relu(1 + fake_logits).mean()


def hinge_generator_loss(fake_logits: Float[Tensor, "n_fake ..."]) -> Float[Tensor, ""]:
    """-E D(G(z)), the generator's side of the hinge loss (Miyato et al. 2018, eq. 17)."""
    return -fake_logits.mean()


def feature_matching_loss(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Float[Tensor, ""]:
    """Sum over layers of E |D_i(x) - D_i(G(z))|, averaged over scales (Wang et al. 2018, eq. 4).

    Args:
        fake: for each scale of the discriminator its layers' outputs, the logits last; these are left out.
        real: the same of real images; no gradient reaches it.

    Raises:
        ValueError: if the two differ in their number of scales or layers, or a scale has nothing below its logits.
    """
    if any(len(layers) < 2 for layers in fake):
        raise ValueError("feature matching needs a discriminator with layers below its logits")
    scales = [
        sum(functional.l1_loss(made, wanted.detach()) for made, wanted in list(zip(ours, theirs, strict=True))[:-1])
        for ours, theirs in zip(fake, real, strict=True)
    ]
    return torch.stack([torch.as_tensor(scale) for scale in scales]).mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "n c h w"],
    fake: Float[Tensor, "n_fake c_fake h_fake w_fake"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """E (||grad f(x_hat)||_2 - 1)^2 on lines between real and fake images (Gulrajani et al. 2017, eq. 3).

    Raises:
        ValueError: if the two batches differ in shape.
    """
    if real.shape != fake.shape:
        raise ValueError(f"gradient penalty needs equal batches, got {tuple(real.shape)} and {tuple(fake.shape)}")
    share = penalty_shares(len(real) * ranks(), generator)[own_rows(len(real) * ranks())].to(real.device)
    between = torch.lerp(real, fake, share).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms: Tensor = slope.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def penalty_shares(count: int, generator: torch.Generator) -> Float[Tensor, "n 1 1 1"]:
    """Draw where on its line each of `count` images lies that a gradient penalty looks at."""
    return torch.rand((count, 1, 1, 1), generator=generator)


def distillation_loss(
    student_images: Float[Tensor, " n *image"], teacher_images: Float[Tensor, " n *image"]
) -> Float[Tensor, ""]:
    """E_z ||g_teacher(z) - g_student(z)||^2 as a mean over pixels (Aguinaldo et al. 2019, eq. 3)."""
    return functional.mse_loss(student_images, teacher_images)


def length_ratio(one: Float[Tensor, ""], other: Float[Tensor, ""], images: Float[Tensor, "n ..."]) -> Float[Tensor, ""]:
    """Norm of the gradient of `one` at `images` over that of `other`, detached; both are computed from them.

    Ranks share the norms of all their images, so that all weigh alike.
    """
    gradients = [torch.autograd.grad(loss, images, retain_graph=True)[0] for loss in (one, other)]
    squares = torch.stack([gradient.square().sum() for gradient in gradients])
    if ranks() > 1:
        squares = summed(squares)
    return torch.sqrt(squares[0] / squares[1].clamp(min=1e-30))


def joint_loss(adversarial: Float[Tensor, ""], distillation: Float[Tensor, ""], alpha: float) -> Float[Tensor, ""]:
    """Alpha * adversarial + (1 - alpha) * MSE (Aguinaldo et al. 2019, eq. 4).

    The paper does not say whether its squared norm is a sum or a mean over pixels; with alpha = 0.0001 only the mean
    leaves the adversarial term a visible effect, which the paper's figure 10 shows, so the mean it is.

    Raises:
        ValueError: if alpha lies outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, found {alpha}")
    return alpha * adversarial + (1 - alpha) * distillation
