"""Training of conditional generators: the effect of each loss term, progress, and resuming without a difference."""

import itertools
import logging

import numpy as np
import pytest
import torch
from torch import nn

from ganpress.config.translation_section import TranslationTraining
from ganpress.data.prepared.arrays import UNLABELLED, ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.errors import CheckpointError, ConfigError, DataError, TrainingDiverged
from ganpress.training.cyclegan import CycleStep, WayBack
from ganpress.training.loop import Checkpointing, TrainingRun
from ganpress.training.paired import PairedStep
from ganpress.training.translation_training import train_translation
from models.discriminators import multiscale_discriminator, patch_discriminator
from models.resnet import resnet_generator
from models.spade import spade_generator

COLOURS = np.array([[20, 40, 60], [230, 120, 30], [60, 200, 220]], np.uint8)
"""Of the background and of two kinds of rectangles."""


class Killed(BaseException):
    """Stands for a kill: not an Exception, so nothing tidies up after it."""


def config(framework, **options):
    base = {
        "train_images": 96,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "discriminator_learning_rate": 1e-3,
        "beta1": 0.5,
        "ndf": 4,
        "ema_half_life_images": 40,
    }
    published = {
        "pix2pix": {"objective": "vanilla", "lambda_recon": 100},
        "cyclegan": {"objective": "lsgan", "lambda_cycle": 10, "lambda_identity": 0.5, "pool_images": 10},
        "spade": {"objective": "hinge", "lambda_feature_matching": 10, "beta1": 0.0},
    }
    return TranslationTraining(framework=framework, **(base | published[framework] | options))


def rectangles(pairing, count=200, shape=(16, 16)):
    """Two rectangles an image: sources are grey, or label maps; targets are filled with colour."""
    random = np.random.default_rng(0)
    labels, greys = np.zeros((2, count, 1, *shape), np.uint8)
    for index, kind in itertools.product(range(count), (1, 2)):
        top, left, height, width = (random.integers(side // 4, side // 2) for side in (*shape, *shape))
        inside = (index, 0, slice(top, top + height), slice(left, left + width))
        labels[inside] = kind
        greys[inside] = 100 * kind
    targets = ImageArray(COLOURS[labels[:, 0]].transpose(0, 3, 1, 2).copy(), np.full(count, UNLABELLED))
    semantic = pairing == "semantic"
    return PairArray(SourceArray(labels if semantic else greys, 3 if semantic else None), targets, pairing)


def networks(framework, in_channels=1):
    """Generator, discriminator and, for CycleGAN, the way back."""
    torch.manual_seed(0)
    if framework == "spade":
        generator = spade_generator("ngf=1 semantic=3 upsampling=normal", 3, False)
        return generator, multiscale_discriminator(6, 4, 1, 2), None
    if framework == "pix2pix":
        return resnet_generator("ngf=4", in_channels, 3, False, 0.5), patch_discriminator(in_channels + 3, 4, 1), None
    generator = resnet_generator("ngf=2", in_channels, 3, False)
    back = WayBack(resnet_generator("ngf=2", 3, in_channels, False), patch_discriminator(in_channels, 4, 1))
    return generator, patch_discriminator(3, 4, 1), back


def data_of(framework):
    if framework == "spade":
        return rectangles("semantic", 40, (32, 64))
    return rectangles("paired" if framework == "pix2pix" else "unpaired")


def run(framework, settings, data=None, seed=1, checkpointing=None, on_samples=None):
    generator, discriminator, back = networks(framework)
    data = data or data_of(framework)
    return train_translation(
        generator, discriminator, data, settings, TrainingRun(seed, "t", checkpointing, on_samples), back
    )


def reached(*modules):
    """Whether each module has a gradient."""
    return [any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters()) for module in modules]


def identity_generator(channels):
    """A convolution that gives back its input."""
    generator = nn.Conv2d(channels, channels, 1, bias=False)
    nn.init.dirac_(generator.weight)
    return generator


# Terms of the loss.


def test_each_cyclegan_term_reaches_its_generators_and_no_discriminator():
    generator, discriminator, back = networks("cyclegan", in_channels=3)
    step = CycleStep(generator, discriminator, back, config("cyclegan"), TrainingRun(1, "t"))
    a, b = torch.rand(2, 2, 3, 16, 16)
    found = {}
    for name in ("adversarial", "back_adversarial", "cycle", "identity"):
        term = step.terms(a, b, back.generator(b), generator(a))[name]
        for module in (generator, back.generator):
            module.zero_grad()
        term.value.backward()
        found[name] = reached(generator, back.generator, discriminator, back.discriminator)
    assert found == {
        "adversarial": [True, False, False, False],
        "back_adversarial": [False, True, False, False],
        "cycle": [True, True, False, False],
        "identity": [True, True, False, False],
    }


@pytest.mark.parametrize("name", ["adversarial", "feature_matching", "recon"])
def test_each_paired_term_reaches_the_generator_and_no_discriminator(name):
    generator, discriminator, _ = networks("pix2pix")
    step = PairedStep(generator, discriminator, config("pix2pix", lambda_feature_matching=10))
    source, target = torch.rand(2, 1, 16, 16), torch.rand(2, 3, 16, 16)
    step.terms(source, target, generator(source))[name].value.backward()
    assert reached(generator, discriminator) == [True, False]


@pytest.mark.parametrize("option", ["lambda_recon", "lambda_feature_matching"])
def test_a_weight_changes_the_generator_and_leaves_the_discriminator(option):
    def weights_after_one_step(weight):
        generator, discriminator, _ = networks("pix2pix")
        PairedStep(generator.eval(), discriminator, config("pix2pix", **{"lambda_recon": 1, option: weight}))(
            torch.full((2, 1, 16, 16), 0.3), torch.linspace(-1, 1, 1536).view(2, 3, 16, 16)
        )
        return [torch.cat([p.flatten() for p in module.parameters()]) for module in (generator, discriminator)]

    without, with_it = weights_after_one_step(0), weights_after_one_step(50)
    assert not torch.equal(without[0], with_it[0])
    assert torch.equal(without[1], with_it[1])


def test_identity_generators_have_neither_cycle_nor_identity_loss():
    back = WayBack(identity_generator(3), patch_discriminator(3, 4, 1))
    step = CycleStep(identity_generator(3), patch_discriminator(3, 4, 1), back, config("cyclegan"), TrainingRun(1, "t"))
    a, b = torch.rand(2, 2, 3, 16, 16)
    terms = step.terms(a, b, b, a)
    assert terms["cycle"].value.item() == 0
    assert terms["identity"].value.item() == 0
    assert (terms["cycle"].weight, terms["identity"].weight) == (10, 5)


def test_the_identity_loss_is_left_out_with_one_line_where_channels_differ(caplog):
    with caplog.at_level(logging.WARNING, "ganpress"):
        trained = run("cyclegan", config("cyclegan", train_images=24))
    assert [record.message for record in caplog.records if "identity" in record.message] == [
        "the identity loss is left out: sources have 1 channels, targets 3; it needs equal numbers"
    ]
    assert "identity" not in trained.curve[0].losses


# Learning.


def distance(generator, data, shift=0):
    """Mean absolute error of images made from each source to its target, or to the target `shift` rows on."""
    rows = torch.arange(len(data))
    source, target = data.batch(rows, rows.roll(shift))
    with torch.no_grad():
        return (generator(source) - target).abs().mean().item()


@pytest.mark.parametrize(
    ("framework", "options"),
    [
        ("pix2pix", {"train_images": 1200, "learning_rate": 5e-3}),
        pytest.param("spade", {"train_images": 320}, marks=pytest.mark.slow),
    ],
)
def test_training_comes_close_to_the_truth(framework, options):
    data = data_of(framework)
    before = distance(networks(framework)[0].eval(), data)
    trained = run(framework, config(framework, **options), data)
    after = distance(trained.generator, data)
    assert after < 0.4 * before
    assert after < 0.9 * distance(trained.generator, data, shift=1)  # it reads its source
    assert not trained.generator.training


@pytest.mark.slow
def test_cyclegan_learns_to_come_back():
    trained = run("cyclegan", config("cyclegan", train_images=320))
    assert trained.curve[-1].losses["cycle"] < 0.5 * trained.curve[0].losses["cycle"]
    assert not trained.back.generator.training


@pytest.mark.parametrize("framework", ["pix2pix", "cyclegan", "spade"])
def test_bf16_moves_the_losses_a_little(framework):
    exact, rounded = (run(framework, config(framework, train_images=8, bf16=bf16)) for bf16 in (False, True))
    assert rounded.curve[0].losses == pytest.approx(exact.curve[0].losses, rel=0.1)
    assert rounded.curve[0].losses != exact.curve[0].losses
    assert {tensor.dtype for tensor in rounded.generator.parameters()} == {torch.float32}


# Resuming.


def kill_after(images):
    def on_samples(point, _generator):
        if point.images >= images:
            raise Killed

    return on_samples


def tensors(trained):
    modules = {"generator": trained.generator, "discriminator": trained.discriminator}
    if trained.back is not None:
        modules |= {"back": trained.back.generator, "back_discriminator": trained.back.discriminator}
    return {f"{name}.{key}": value for name, one in modules.items() for key, value in one.state_dict().items()}


@pytest.mark.parametrize(
    ("framework", "bf16"),
    [("pix2pix", False), ("cyclegan", False), ("spade", False), ("pix2pix", True), ("cyclegan", True)],
)
def test_resuming_equals_not_stopping(framework, bf16, tmp_path):
    settings = config(framework, batch_size=4, train_images=24 if framework == "spade" else 64, bf16=bf16)
    whole = tensors(run(framework, settings))
    checkpointing = Checkpointing(tmp_path / "checkpoint.pt", "identity", pause_seconds=0)
    with pytest.raises(Killed):
        run(framework, settings, checkpointing=checkpointing, on_samples=kill_after(settings.train_images // 2))
    torch.randn(5)  # the global generator must not matter
    seen = []
    resumed = run(
        framework, settings, checkpointing=checkpointing, on_samples=lambda point, _: seen.append(point.images)
    )
    assert min(seen) > settings.train_images // 2
    for key, value in tensors(resumed).items():
        assert torch.equal(value, whole[key]), key


def test_another_seed_gives_another_generator():
    one, same, other = (run("pix2pix", config("pix2pix"), seed=seed).generator.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    data, settings, (generator, discriminator, _) = data_of("pix2pix"), config("pix2pix"), networks("pix2pix")
    before = torch.get_rng_state()
    train_translation(generator, discriminator, data, settings, TrainingRun(1, "t"))
    assert torch.equal(torch.get_rng_state(), before)


# Normalisation statistics of averaged weights.


def test_the_averaged_generator_s_statistics_are_those_of_sources():
    data = data_of("spade")
    trained = run("spade", config("spade", train_images=160), data)
    seen = []
    hook = trained.generator.up_0.norm_0.norm.register_forward_hook(lambda _m, _i, output: seen.append(output))
    rows = torch.arange(len(data))
    with torch.no_grad():
        trained.generator(data.batch(rows, rows)[0])
    hook.remove()
    assert seen[0].mean((0, 2, 3)).abs().max() < 0.1
    assert (seen[0].var((0, 2, 3)) - 1).abs().max() < 0.3


# What is refused.


@pytest.mark.parametrize("framework", ["pix2pix", "spade"])
def test_frameworks_for_pairs_refuse_unpaired_data(framework):
    with pytest.raises(ConfigError, match=f"'{framework}' needs a target for every source.*framework to 'cyclegan'"):
        run(framework, config(framework), rectangles("unpaired", 20))


def test_only_cyclegan_has_a_way_back():
    generator, discriminator, back = networks("cyclegan")
    data = data_of("cyclegan")
    with pytest.raises(ValueError, match="give the way back"):
        train_translation(generator, discriminator, data, config("cyclegan"), TrainingRun(1, "t"))
    with pytest.raises(ValueError, match="pix2pix has no way back"):
        train_translation(generator, discriminator, data, config("pix2pix"), TrainingRun(1, "t"), back)


def test_fewer_images_than_a_batch_are_refused():
    with pytest.raises(DataError, match="20 sources are fewer than one batch of 32"):
        run("pix2pix", config("pix2pix", batch_size=32), rectangles("paired", 20))


def test_divergence_is_told():
    with pytest.raises(TrainingDiverged, match=r"t: \w+ became (nan|inf).*lower the learning rate"):
        run("pix2pix", config("pix2pix").model_copy(update={"learning_rate": 1e30}))


def test_feature_weights_that_are_missing_are_told(tmp_path):
    settings = config("pix2pix", lambda_perceptual=10, perceptual_weights=str(tmp_path / "vgg19.pth"))
    with pytest.raises(CheckpointError, match=r"vgg19\.pth does not exist"):
        run("pix2pix", settings)


def test_a_perceptual_term_trains_the_generator(shared_data):
    weights = shared_data / "squeezenet" / "squeezenet1_0_deepcompression_caffe_bgr.pth"
    settings = config("pix2pix", lambda_perceptual=1, perceptual_weights=str(weights), lambda_recon=0, train_images=320)
    curve = run("pix2pix", settings, rectangles("paired", 60, (24, 24))).curve
    assert curve[-1].losses["perceptual"] < 0.8 * curve[0].losses["perceptual"]
