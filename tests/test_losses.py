import math

import pytest
import torch
from torch import nn

from ganpress.training.losses import (
    distillation_loss,
    feature_matching_loss,
    gan_discriminator_loss,
    gan_generator_loss,
    gradient_penalty,
    hinge_discriminator_loss,
    hinge_generator_loss,
    joint_loss,
    length_ratio,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    r3gan_discriminator_loss,
    r3gan_generator_loss,
    wgan_critic_loss,
    wgan_generator_loss,
    zero_centred_penalty,
)


def test_gan_losses_are_the_logarithms_of_the_paper():
    real, fake = torch.tensor([0.3, 2.0]), torch.tensor([-1.0, 0.5])
    expected = -(torch.log(torch.sigmoid(real)).mean() + torch.log(1 - torch.sigmoid(fake)).mean())
    assert torch.allclose(gan_discriminator_loss(real, fake), expected)
    assert torch.allclose(gan_generator_loss(fake), -torch.log(torch.sigmoid(fake)).mean())
    assert gan_discriminator_loss(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(2 * math.log(2))


def test_wgan_losses_are_differences_of_means():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
    assert wgan_critic_loss(real, fake).item() == -1.5
    assert wgan_generator_loss(fake).item() == -0.5


def test_relativistic_losses_see_only_differences_of_pairs():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 4.0])
    expected = -torch.log(torch.sigmoid(real - fake)).mean()
    assert torch.allclose(r3gan_discriminator_loss(real, fake), expected)
    assert torch.allclose(r3gan_discriminator_loss(real + 7, fake + 7), expected)
    assert torch.allclose(r3gan_generator_loss(real, fake), -torch.log(torch.sigmoid(fake - real)).mean())


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_a_zero_centred_penalty_of_a_linear_critic_is_its_squared_slope(slope):
    direction = torch.zeros(12)
    direction[0] = slope
    images = torch.randn(5, 3, 2, 2)
    assert zero_centred_penalty(lambda x: x.flatten(1) @ direction, images).item() == pytest.approx(slope**2)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))
    zero_centred_penalty(critic, images).backward()
    assert critic[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.0), (3.0, 4.0)])
def test_gradient_penalty_of_a_linear_critic_is_known(slope, expected):
    direction = torch.zeros(12)
    direction[0] = slope
    critic = lambda images: images.flatten(1) @ direction  # noqa: E731
    batches = torch.randn(2, 5, 3, 2, 2)
    assert gradient_penalty(critic, *batches, torch.Generator()).item() == pytest.approx(expected)


def test_gradient_penalty_reaches_the_critic_and_wants_equal_batches():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))
    gradient_penalty(critic, torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2), torch.Generator()).backward()
    assert critic[1].weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="equal batches"):
        gradient_penalty(critic, torch.randn(4, 3, 2, 2), torch.randn(3, 3, 2, 2), torch.Generator())


def test_distillation_is_zero_when_the_student_is_the_teacher():
    images = torch.rand(2, 1, 8, 8)
    assert distillation_loss(images, images).item() == 0
    assert distillation_loss(images, images + 0.5).item() == pytest.approx(0.25)


def test_joint_loss_weighs_and_refuses_bad_alpha():
    assert joint_loss(torch.tensor(2.0), torch.tensor(1.0), 0.25).item() == 1.25
    with pytest.raises(ValueError, match="found 1.5"):
        joint_loss(torch.tensor(2.0), torch.tensor(1.0), 1.5)


def test_least_squares_losses_are_zero_where_the_judge_says_what_it_shall():
    ones, zeros = torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)
    assert lsgan_discriminator_loss(ones, zeros).item() == 0
    assert lsgan_discriminator_loss(zeros, ones).item() == 1
    assert lsgan_generator_loss(ones).item() == 0
    assert lsgan_generator_loss(3 * ones).item() == 4


def test_hinge_loss_stops_where_the_margin_is_met():
    beyond, within = torch.tensor([1.5, 4.0]), torch.tensor([0.5, 0.0], requires_grad=True)
    assert hinge_discriminator_loss(beyond, -beyond).item() == 0
    loss = hinge_discriminator_loss(within, -beyond)
    assert loss.item() == pytest.approx(0.75)
    loss.backward()
    assert torch.equal(within.grad, torch.full((2,), -0.5))
    assert hinge_generator_loss(beyond).item() == -2.75


def test_feature_matching_leaves_out_logits_and_averages_scales():
    real = [[torch.zeros(2, 4, 3, 3), torch.zeros(2, 8, 2, 2), torch.zeros(2, 1)], [torch.zeros(5), torch.zeros(1)]]
    fake = [
        [torch.ones(2, 4, 3, 3), 2 * torch.ones(2, 8, 2, 2), 100 * torch.ones(2, 1)],
        [torch.ones(5), torch.ones(1)],
    ]
    assert feature_matching_loss(fake, real).item() == ((1 + 2) + 1) / 2


def test_feature_matching_reaches_the_fakes_only():
    fake, real = ([[torch.rand(3, requires_grad=True), torch.rand(1, requires_grad=True)]] for _ in range(2))
    feature_matching_loss(fake, real).backward()
    assert fake[0][0].grad is not None
    assert fake[0][1].grad is None
    assert real[0][0].grad is None


def test_feature_matching_refuses_what_does_not_belong_together():
    with pytest.raises(ValueError, match="layers below its logits"):
        feature_matching_loss([[torch.zeros(1)]], [[torch.zeros(1)]])
    two = [torch.zeros(1), torch.zeros(1)]
    with pytest.raises(ValueError, match="shorter"):
        feature_matching_loss([two, two], [two])


def test_terms_are_weighed_by_the_length_of_their_gradients():
    images = torch.randn(3, 1, 4, 4, requires_grad=True)
    one, other = images.square().mean(), (5 * images).tanh().mean()
    ratio = length_ratio(one, other, images)
    expected, found = (torch.autograd.grad(loss, images, retain_graph=True)[0].norm() for loss in (one, ratio * other))
    torch.testing.assert_close(found, expected)
    assert not ratio.requires_grad
    assert torch.isfinite(length_ratio(one, images.sum() * 0, images))
