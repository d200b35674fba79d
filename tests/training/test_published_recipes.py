"""Recipes of the published experiments: budgets and spaces are the published ones, and each loss term takes part.

`tests/test_recipes.py` builds every recipe's networks and takes a step of all its trainings.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from ganpress.config.base import parse, read_yaml
from ganpress.config.params import Params, merge_overlay
from ganpress.data.prepared.arrays import UNLABELLED, ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.training.cyclegan import WayBack
from ganpress.training.loop import TrainingRun
from ganpress.training.translation_training import train_translation
from models.builders import generator_blueprint
from models.discriminators import multiscale_discriminator, patch_discriminator
from models.family import Canvas

CHECKOUT = Path(__file__).resolve().parents[2]
PUBLISHED = {
    "horse2zebra_cyclegan": ("unpaired", 3),
    "edges2shoes_pix2pix": ("paired", 3),
    "maps_pix2pix": ("paired", 3),
    "facades_pix2pix": ("paired", 3),
    "cityscapes_pix2pix": ("semantic", 35),
    "cityscapes_gaugan": ("semantic", 35),
}
"""Recipe -> pairing of its data, and channels that the network reads."""


def params_of(recipe):
    overlay = read_yaml(CHECKOUT / "recipes" / f"{recipe}.yaml")
    return parse(merge_overlay(read_yaml(CHECKOUT / "params.yaml"), overlay), Params, recipe)


def small_canvas(recipe):
    """The recipe's canvas, 64 pixels high."""
    prepare = params_of(recipe).prepare
    return Canvas(3, 64, 64 * prepare.target_width // prepare.image_size, PUBLISHED[recipe][1])


def random_data(canvas, pairing):
    """Two pairs of noise."""
    random = np.random.default_rng(0)
    labels = pairing == "semantic"
    shape = (2, 1 if labels else canvas.reads, canvas.height, canvas.width)
    sources = random.integers(0, canvas.reads if labels else 256, shape, dtype=np.uint8)
    targets = random.integers(0, 256, (2, 3, canvas.height, canvas.width), dtype=np.uint8)
    images = ImageArray(targets, np.full(2, UNLABELLED))
    return PairArray(SourceArray(sources, canvas.reads if labels else None), images, pairing)


@pytest.mark.parametrize(
    ("recipe", "spec", "published_macs"),
    [
        ("horse2zebra_cyclegan", "16_16_32_16_32_32_16_16", 1_845_755_904),
        ("edges2shoes_pix2pix", "32_32_48_32_48_48_16_16", 4_055_629_824),
        ("cityscapes_pix2pix", "32_32_48_32_32_48_24_24", None),
        ("cityscapes_gaugan", "32_32_48_32_32_32_32_24", 31_608_315_904),
    ],
)
def test_the_published_sub_generator_is_in_the_space_and_below_the_budget(recipe, spec, published_macs):
    params = params_of(recipe)
    numbers = [int(number) for number in spec.split("_")]
    choices = params.supernet.widths * (len(numbers) if len(params.supernet.widths) == 1 else 1)
    assert all(number in allowed for number, allowed in zip(numbers, choices, strict=True))
    if published_macs is not None:
        assert published_macs <= params.search.max_macs < 1.01 * published_macs


@pytest.mark.parametrize(
    ("recipe", "epoch", "constant", "falling", "supernet"),
    [
        ("horse2zebra_cyclegan", 1_334, 100, 100, 400),
        ("edges2shoes_pix2pix", 50_025 - 2_048, 5, 15, 40),
        ("maps_pix2pix", 1_096, 100, 200, 600),
        ("cityscapes_pix2pix", 2_975, 100, 150, 500),
        ("cityscapes_gaugan", 2_975, 100, 100, 200),
    ],
)
def test_trainings_are_as_long_as_the_authors(recipe, epoch, constant, falling, supernet):
    """Epochs of the authors' scripts (mit-han-lab/gan-compression), counted in images."""
    params = params_of(recipe)
    for training in (params.candidate.training, params.student.training, params.subnet.fine_tuning):
        assert training.train_images == (constant + falling) * epoch
        assert training.decay_fraction == pytest.approx(falling / (constant + falling), abs=1e-3)
    assert params.supernet.training.train_images == supernet * epoch


def candidate_networks(params, canvas):
    """The candidate `ngf64`, its discriminator and, for CycleGAN, the way back."""
    config = params.candidate.training
    generator = generator_blueprint(params.candidate.items["ngf64"].generator_name, canvas)
    sizes = (config.ndf, config.discriminator_layers)
    torch.manual_seed(0)
    if config.framework == "spade":
        discriminator = multiscale_discriminator(3 + canvas.reads, *sizes, config.discriminator_scales)
        return generator.build(), discriminator, None
    if config.framework == "pix2pix":
        return generator.build(), patch_discriminator(3 + canvas.reads, *sizes), None
    back = WayBack(generator.build(), patch_discriminator(canvas.reads, *sizes))
    return generator.build(), patch_discriminator(3, *sizes), back


@pytest.mark.slow
@pytest.mark.parametrize("recipe", PUBLISHED)
def test_one_step_of_the_recipe_runs(recipe, tmp_path):
    canvas = small_canvas(recipe)
    pairing, _ = PUBLISHED[recipe]
    params = params_of(recipe)
    changes = {"batch_size": 1, "train_images": 1}
    if params.candidate.training.perceptual_weights:  # the published network untrained: nothing may be downloaded
        from torchvision.models import vgg19

        changes["perceptual_weights"] = str(tmp_path / "vgg19.pth")
        torch.save({f"features.{k}": v for k, v in vgg19().features.state_dict().items()}, tmp_path / "vgg19.pth")
    config = params.candidate.training.model_copy(update=changes)
    networks = candidate_networks(params, canvas)
    before = [parameter.detach().clone() for parameter in networks[0].parameters()]
    trained = train_translation(
        *networks[:2], random_data(canvas, pairing), config, TrainingRun(1, "translation"), networks[2]
    )
    assert any(not torch.equal(now, then) for now, then in zip(networks[0].parameters(), before, strict=True))
    terms = {"pix2pix": {"recon"}, "cyclegan": {"cycle", "identity"}, "spade": {"feature_matching", "perceptual"}}
    assert terms[config.framework] | {"adversarial", "discriminator_loss"} <= set(trained.curve[0].losses)
