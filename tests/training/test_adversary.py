"""The adversary of conditional generators: which network learns from which loss."""

import pytest
import torch

from ganpress.config.translation_section import TranslationTraining
from ganpress.training.adversary import TranslationAdversary, conditioned
from models.discriminators import multiscale_discriminator, patch_discriminator


def config(objective="hinge"):
    return TranslationTraining(
        framework="pix2pix",
        train_images=1,
        batch_size=1,
        learning_rate=0.01,
        discriminator_learning_rate=0.01,
        beta1=0.5,
        objective=objective,
        ndf=2,
    )


def batch(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def adversary(objective="hinge", conditional=True, scales=None):
    torch.manual_seed(0)
    channels = 5 if conditional else 3
    network = (
        patch_discriminator(channels, 4, 2) if scales is None else multiscale_discriminator(channels, 4, 2, scales)
    )
    return TranslationAdversary(network, config(objective), conditional)


@pytest.mark.parametrize("objective", ["vanilla", "lsgan", "hinge"])
def test_the_discriminator_learns_to_tell_apart(objective):
    judge = adversary(objective)
    source, real = batch(4, 2, 16, 16), batch(4, 3, 16, 16, seed=1).abs()
    losses = [judge.update(source, real, -real).item() for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert judge.generator_loss(source, real) < judge.generator_loss(source, -real)


def test_update_reaches_the_discriminator_and_not_the_generator():
    judge = adversary()
    fake = batch(2, 3, 16, 16).requires_grad_(True)
    before = [parameter.clone() for parameter in judge.discriminator.parameters()]
    loss = judge.update(batch(2, 2, 16, 16), batch(2, 3, 16, 16, seed=2), fake)
    assert fake.grad is None
    assert not loss.requires_grad
    weights = list(zip(judge.discriminator.parameters(), before, strict=True))
    assert all(not torch.equal(now, then) for now, then in weights if now.dim() > 1)


@pytest.mark.parametrize("term", ["adversarial", "feature_matching"])
def test_a_generator_s_term_reaches_the_generator_and_not_the_discriminator(term):
    judge = adversary(scales=2)
    fake, real = batch(2, 3, 16, 16).requires_grad_(True), batch(2, 3, 16, 16, seed=2).requires_grad_(True)
    getattr(judge.generator_terms(batch(2, 2, 16, 16), real, fake), term).backward()
    assert fake.grad.abs().sum() > 0
    assert real.grad is None
    assert all(parameter.grad is None for parameter in judge.discriminator.parameters())


def test_both_terms_of_one_pass_are_those_of_two():
    judge = adversary()
    source, real, fake = batch(2, 2, 16, 16), batch(2, 3, 16, 16, seed=1), batch(2, 3, 16, 16, seed=2)
    terms = judge.generator_terms(source, real, fake)
    assert torch.equal(terms.adversarial, judge.generator_loss(source, fake))
    assert torch.equal(terms.feature_matching, judge.feature_matching(source, real, fake))
    assert terms.feature_matching > 0
    assert judge.feature_matching(source, real, real).item() == 0


def test_only_a_conditional_adversary_reads_the_source():
    fake = batch(2, 3, 16, 16)
    one, other = batch(2, 2, 16, 16, seed=1), batch(2, 2, 16, 16, seed=2)
    blind, seeing = adversary(conditional=False), adversary()
    assert torch.equal(blind.generator_loss(one, fake), blind.generator_loss(other, fake))
    assert not torch.equal(seeing.generator_loss(one, fake), seeing.generator_loss(other, fake))


def test_sources_are_stacked_at_the_size_of_the_images():
    small = torch.eye(2).view(1, 1, 2, 2)
    stack = conditioned(small, torch.zeros(1, 3, 4, 4))
    assert stack.shape == (1, 4, 4, 4)
    assert torch.equal(stack[0, 0], torch.eye(2).repeat_interleave(2, 0).repeat_interleave(2, 1))
