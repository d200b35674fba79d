"""What training does: losses fall, statistics agree, divergence is reported."""

import numpy as np
import pytest
import torch

from ganpress.config.training_section import DistillationTraining, GanTraining, SupernetConfig
from ganpress.data.prepared.arrays import ImageArray
from ganpress.errors import DataError, TrainingDiverged
from ganpress.training.distillation import train_student
from ganpress.training.ema import WeightAverage, recalibrate_batch_norm_
from ganpress.training.gan import clip_weights_, train_gan
from ganpress.training.loop import Checkpointing, TrainingRun
from ganpress.training.supernet_training import train_supernet
from models.builders import elastic_blueprint
from models.family import Canvas
from models.wdcgan import wdcgan_discriminator, wdcgan_generator

GAN, STUDENT, SUPERNET = (TrainingRun(1, label) for label in ("gan", "student", "supernet"))


def squares(count=400, size=16):
    """Images of one bright corner each; the label says which of four."""
    labels = np.arange(count, dtype=np.int64) % 4
    pixels = np.zeros((count, 1, size, size), np.uint8)
    half = size // 2
    for image, label in zip(pixels, labels, strict=True):
        image[0, (label // 2) * half :, (label % 2) * half :][:half, :half] = 255
    return ImageArray(pixels, labels)


def gan_config(**options):
    base = {
        "objective": "gan",
        "train_images": 320,
        "batch_size": 16,
        "generator_learning_rate": 1e-3,
        "discriminator_learning_rate": 1e-3,
        "beta1": 0.5,
        "discriminator_steps": 1,
        "ema_half_life_images": 100,
    }
    return GanTraining(**(base | options))


def distillation(images=6000):
    return DistillationTraining(
        train_images=images, batch_size=32, learning_rate=3e-3, beta1=0.5, ema_half_life_images=300
    )


def strong_teacher(depth="3"):
    """A random generator whose images vary with z."""
    torch.manual_seed(1)
    teacher = wdcgan_generator(depth, 16, 1)
    torch.nn.init.normal_(teacher.head.weight, 0, 0.3)
    return recalibrate_batch_norm_(teacher, torch.randn(500, 100))


def test_student_comes_close_to_its_teacher():
    torch.manual_seed(0)
    distilled = train_student(wdcgan_generator("3", 16, 1), strong_teacher(), distillation(), STUDENT)
    first, last = distilled.curve[0].losses["mse"], distilled.curve[-1].losses["mse"]
    assert last < 0.5 * first
    z = torch.randn(200, 100, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        wanted = strong_teacher()(z)
        error = (distilled.student(z) - wanted).square().mean()
    assert error < 0.5 * wanted.var()


def test_every_width_of_the_supernet_learns():
    torch.manual_seed(0)
    supernet = elastic_blueprint("wdcgan", Canvas(1, 16, 16), ((2, 4),)).build()
    config = SupernetConfig(widths=((2, 4),), sandwich=True, random_specs=1, training=distillation())
    _, curve = train_supernet(supernet, strong_teacher(), config, SUPERNET)
    for name in ("mse_largest", "mse_smallest", "mse_random_0"):
        assert curve[-1].losses[name] < 0.7 * curve[0].losses[name]
    assert curve[-1].losses["mse_largest"] < curve[-1].losses["mse_smallest"]


@pytest.mark.slow
def test_gan_learns_where_the_light_is():
    torch.manual_seed(0)
    data = squares()
    config = gan_config(train_images=12000)
    trained = train_gan(wdcgan_generator("4", 16, 1), wdcgan_discriminator(4, 16, 1, True), data, config, GAN)

    def distance_to_data(generator):
        with torch.no_grad():
            made = generator(torch.randn(400, 100, generator=torch.Generator().manual_seed(2)))
        return (torch.cdist(made.flatten(1), data.batch(torch.arange(4)).flatten(1)) / 16).min(1)

    distance, corner = distance_to_data(trained.generator)
    untrained, _ = distance_to_data(wdcgan_generator("4", 16, 1).eval())
    assert distance.mean() < 0.75 * untrained.mean()  # root mean square over pixels
    assert len(corner.unique()) >= 3


def test_colour_images_train_too():
    gray = squares(64)
    colour = ImageArray(np.repeat(gray.pixels, 3, axis=1), gray.labels)
    trained = train_gan(
        wdcgan_generator("2", 16, 3),
        wdcgan_discriminator(2, 16, 3, True),
        colour,
        gan_config(train_images=64),
        GAN,
    )
    distilled = train_student(wdcgan_generator("1", 16, 3), trained.generator, distillation(64), STUDENT)
    assert distilled.student(torch.randn(2, 100)).shape == (2, 3, 16, 16)


def test_weight_clipping_bounds_the_critic():
    critic = wdcgan_discriminator(2, 16, 1, True)
    clip_weights_(critic, 0.01)
    assert max(parameter.abs().max() for parameter in critic.parameters()) <= 0.01
    trained = train_gan(
        wdcgan_generator("2", 16, 1),
        critic,
        squares(),
        gan_config(objective="wgan", weight_clip=0.01),
        GAN,
    )
    assert max(parameter.abs().max() for parameter in trained.discriminator.parameters()) <= 0.01


def test_average_without_half_life_is_the_model_and_with_one_lags():
    model = torch.nn.Linear(2, 2)
    follows, lags = WeightAverage(model, 0), WeightAverage(model, 1000)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1
    follows.update(10_000, 500)
    lags.update(10_000, 500)
    assert torch.equal(follows.averaged(model).weight, model.weight)
    assert torch.allclose(lags.averaged(model).weight, before + 1 - 0.5**0.5)  # half a half-life


def test_recalibrated_statistics_normalise():
    generator = wdcgan_generator("2", 16, 1)
    z = torch.randn(1000, 100, generator=torch.Generator().manual_seed(0))
    recalibrate_batch_norm_(generator, z, batch_size=1000)
    block = generator.blocks[0]
    with torch.no_grad():
        normed = block.norm(block.conv(z[:, :, None, None]))
    assert torch.allclose(normed.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(normed.std((0, 2, 3)), torch.ones(4), atol=1e-2)
    assert block.norm.momentum == 0.1


def test_divergence_names_term_step_and_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    config = gan_config(objective="wgan", weight_clip=1.0, train_images=64000).model_copy(
        update={"weight_clip": 1e30, "discriminator_learning_rate": 1e30}
    )
    with pytest.raises(TrainingDiverged, match=r"\w+_loss became (nan|-?inf) between [\d,]+ and [\d,]+ images; lower"):
        train_gan(
            wdcgan_generator("2", 16, 1),
            wdcgan_discriminator(2, 16, 1, False),
            squares(),
            config,
            TrainingRun(1, "gan", Checkpointing(path, "x")),
        )


def test_fewer_images_than_a_batch():
    with pytest.raises(DataError, match="8 images are fewer than one batch of 16"):
        train_gan(
            wdcgan_generator("2", 16, 1),
            wdcgan_discriminator(2, 16, 1, True),
            squares(8),
            gan_config(),
            GAN,
        )
