"""Every recipe parses and builds its networks, and each training of the conditional recipes runs one step."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from ganpress.config.base import parse, read_yaml
from ganpress.config.params import Params, merge_overlay
from ganpress.config.translation_section import FeatureDistillation, TranslationTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.training.cyclegan import WayBack
from ganpress.training.distillation_step import DistillationSetup
from ganpress.training.feature_distillation import distil_supernet
from ganpress.training.loop import TrainingRun
from ganpress.training.translation_training import train_translation
from models.builders import elastic_blueprint, generator_blueprint
from models.elastic import Elastic, NoInitialisation
from models.family import Canvas
from tasks.shared.conditional_stages import discriminator_blueprint, distilled_taps, way_back

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
LABEL_CLASSES = {"cityscapes": 35}
SEGMENTS = 11
"""Label classes of `segments:<base>` with ten classes of images."""


@cache
def params_of(recipe: str) -> Params:
    content = merge_overlay(read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "recipes" / f"{recipe}.yaml"))
    return parse(content, Params, recipe)


def is_semantic(params: Params) -> bool:
    return params.data.source == "cityscapes" or framework_of(params) == "spade"


def framework_of(params: Params) -> str | None:
    training = params.candidate.training
    return training.framework if isinstance(training, TranslationTraining) else None


def canvas_of(params: Params) -> Canvas:
    """What the recipe's generators read and draw."""
    prepare, training = params.prepare, params.candidate.training
    plain = Canvas(prepare.channels, prepare.image_size, prepare.target_width)
    if not isinstance(training, TranslationTraining):
        return plain
    if is_semantic(params):
        return replace(plain, reads=LABEL_CLASSES.get(params.data.source, SEGMENTS))
    height, width = prepare.source_shape
    return replace(plain, reads=prepare.source_channels or prepare.channels, source_height=height, source_width=width)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_network_of_a_recipe_can_be_built(recipe):
    params = params_of(recipe)
    canvas = canvas_of(params)
    items = [*params.candidate.items.values(), *params.student.items.values(), *params.control.items.values()]
    with torch.device("meta"), NoInitialisation():
        for item in items:
            generator_blueprint(item.generator_name, canvas).build()
        supernet = elastic_blueprint(params.supernet.family, canvas, params.supernet.widths).build()
    assert isinstance(supernet, Elastic)
    assert len(supernet.space) > 1


ONE_STEP = {
    "batch_size": 1,
    "train_images": 1,
    "lambda_perceptual": 0,
    "perceptual_weights": None,
    "ema_half_life_images": 0,
}
"""Changes that make a training one step long, without files that are not here."""


def pairs_of(canvas: Canvas, semantic: bool, paired: bool) -> PairArray:
    random = np.random.default_rng(0)
    classes = canvas.reads if semantic else None
    sources = random.integers(
        0, classes or 256, (2, 1 if semantic else canvas.reads, *canvas.source_shape[1:]), np.uint8
    )
    targets = random.integers(0, 256, (2, canvas.channels, canvas.height, canvas.width), np.uint8)
    pairing = "semantic" if semantic else "paired" if paired else "unpaired"
    return PairArray(SourceArray(sources, classes), ImageArray(targets, np.zeros(2, np.int64)), pairing)


def losses_of_a_step_of_each_training(recipe: str, canvas: Canvas) -> tuple[dict[str, float], ...]:
    params = params_of(recipe)
    training, distillation = params.candidate.training, params.supernet.training
    assert isinstance(training, TranslationTraining)
    assert isinstance(distillation, FeatureDistillation)
    training = training.model_copy(update=ONE_STEP)
    distillation = distillation.model_copy(update=ONE_STEP)
    data = pairs_of(canvas, is_semantic(params), training.framework != "cyclegan")
    name = next(iter(params.candidate.items.values())).generator_name
    blueprint = generator_blueprint(name, canvas)
    discriminator = discriminator_blueprint(canvas, training).build()
    back = None
    if training.framework == "cyclegan":
        other = way_back(canvas, blueprint, training)
        back = WayBack(other.generator.build(), other.discriminator.build())
    trained = train_translation(blueprint.build(), discriminator, data, training, TrainingRun(1, "translation"), back)
    elastic = elastic_blueprint(params.supernet.family, canvas, params.supernet.widths)
    supernet = elastic.build()
    assert isinstance(supernet, Elastic)
    taps = distilled_taps(distillation, elastic.arguments["base"]["builder"])
    setup = DistillationSetup(trained.generator, trained.discriminator, data, distillation, taps)
    _, curve = distil_supernet(supernet, setup, TrainingRun(1, "supernet"), sandwich=False, random_specs=1)
    return dict(trained.curve[-1].losses), dict(curve[-1].losses)


def all_are_finite(losses: dict[str, float]) -> bool:
    return len(losses) > 0 and all(math.isfinite(value) for value in losses.values())


@pytest.fixture
def short_calibration(monkeypatch):
    """What follows the last step takes no longer than the steps."""
    monkeypatch.setattr("ganpress.training.translation_training.CALIBRATION_IMAGES", 2)


CONDITIONAL = [recipe for recipe in RECIPES if framework_of(params_of(recipe)) is not None]
SHORT = "edges2shoes_pix2pix"
LONGEST = "cityscapes_gaugan"
"""Its step at full widths takes as long as all others together."""


@pytest.mark.usefixtures("short_calibration")
@pytest.mark.parametrize(
    "recipe", [pytest.param(one, marks=() if SHORT in str(one) else pytest.mark.slow) for one in CONDITIONAL]
)
def test_a_step_of_each_training_at_the_recipes_widths_on_small_images(recipe):
    canvas = canvas_of(params_of(recipe))
    side = 128 if framework_of(params_of(recipe)) == "spade" and canvas.height > 64 else min(canvas.height, 64)
    small = Canvas(canvas.channels, side, side, canvas.reads)
    assert all(all_are_finite(losses) for losses in losses_of_a_step_of_each_training(recipe, small))


@pytest.mark.slow
@pytest.mark.usefixtures("short_calibration")
@pytest.mark.parametrize(
    "recipe", [pytest.param(one, marks=pytest.mark.slow if LONGEST in str(one) else ()) for one in CONDITIONAL]
)
def test_a_step_of_each_training_at_full_size(recipe):
    canvas = canvas_of(params_of(recipe))
    assert all(all_are_finite(losses) for losses in losses_of_a_step_of_each_training(recipe, canvas))
