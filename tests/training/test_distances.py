"""Distances between a student's and its teacher's images."""

import math

import pytest
import torch

from ganpress.config.training_section import DistillationTraining
from ganpress.registries import DISTANCES
from ganpress.training.distances.feature_distances import BANDWIDTHS, mean_discrepancy
from ganpress.training.distances.mixed_distance import MixedDistance
from ganpress.training.distances.wavelet_distance import haar_bands, wavelet_distance
from ganpress.training.distillation import train_student
from ganpress.training.ema import recalibrate_batch_norm_
from ganpress.training.loop import TrainingRun
from models.wdcgan import wdcgan_discriminator, wdcgan_generator


def pictures(seed=0, count=6):
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def critic():
    torch.manual_seed(0)
    return wdcgan_discriminator(2, 16, 1, normalise=True)


def test_haar_bands_keep_the_energy_and_see_their_own_direction():
    images = pictures()
    low, high = haar_bands(images)
    energy = sum(float(band.square().sum()) for band in (low, *high))
    assert energy == pytest.approx(float(images.square().sum()), rel=1e-5)
    upright = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)  # columns differ, rows do not
    low, (across, along, diagonal) = haar_bands(upright)
    assert [float(band.abs().max()) for band in (low, along, diagonal)] == [0, 0, 0]
    assert float(across.min()) == 2.0


def test_wavelets_do_not_see_brightness_and_see_what_pixels_hardly_see():
    images = pictures()
    assert float(wavelet_distance(images + 0.5, images)) == pytest.approx(0, abs=1e-6)
    checkers = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(8, 8)
    assert float(wavelet_distance(images + checkers, images)) == pytest.approx(0.2 / 3 / 3, rel=1e-4)  # level 1 alone


def test_the_mean_discrepancy_is_that_of_its_definition_and_knows_no_order():
    one, other = torch.randn(5, 3), torch.randn(4, 3) + 1
    scale = float((other[:, None] - other).square().sum(2).mean())

    def kernel(a, b):
        return sum(math.exp(-float((a - b).square().sum()) / (2 * width * scale)) for width in BANDWIDTHS) / 3

    def mean(left, right):
        return sum(kernel(a, b) for a in left for b in right) / (len(left) * len(right))

    expected = mean(one, one) + mean(other, other) - 2 * mean(one, other)
    assert float(mean_discrepancy(one, other)) == pytest.approx(expected, rel=1e-4)
    assert float(mean_discrepancy(other.flip(0), other)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", list(DISTANCES))
def test_a_distance_is_zero_between_equals_and_its_gradient_reaches_the_student_alone(name):
    network, wanted = critic(), pictures(1)
    distance = MixedDistance({name: 2.0}, network)
    total, values = distance(wanted.clone(), wanted)
    assert float(total) == pytest.approx(0, abs=1e-6)
    made = pictures(2).requires_grad_(True)
    total, values = distance(made, wanted)
    assert float(total.detach()) == pytest.approx(2 * float(values[DISTANCES[name].shown or name]))
    total.backward()
    assert float(made.grad.abs().max()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_weights_mix_and_the_mse_is_always_shown():
    made, wanted = pictures(2), pictures(1)
    total, values = MixedDistance({"absolute": 0.5, "wavelet": 3.0})(made, wanted)
    assert set(values) == {"mse", "absolute", "wavelet"}
    assert float(total) == pytest.approx(0.5 * float(values["absolute"]) + 3 * float(values["wavelet"]))
    assert float(values["mse"]) == pytest.approx(float((made - wanted).square().mean()))


@pytest.mark.parametrize("weights", [{"squared": 1.0, "wavelet": 1.0}, {"activations": 1.0}, {"dime": 1.0}])
def test_a_student_learns_from_it(weights):
    torch.manual_seed(1)
    teacher = wdcgan_generator("3", 16, 1)
    torch.nn.init.normal_(teacher.head.weight, 0, 0.3)
    recalibrate_batch_norm_(teacher, torch.randn(500, 100))
    config = DistillationTraining(
        train_images=3000, batch_size=32, learning_rate=3e-3, beta1=0.5, ema_half_life_images=300
    )
    distance = MixedDistance(weights, critic())
    student = train_student(wdcgan_generator("3", 16, 1), teacher, config, TrainingRun(1, "student"), distance=distance)
    z = torch.randn(200, 100)
    torch.manual_seed(2)
    untrained = recalibrate_batch_norm_(wdcgan_generator("3", 16, 1), torch.randn(500, 100)).eval()
    with torch.no_grad():
        after, before = (float(distance(one(z), teacher(z))[0]) for one in (student.student, untrained))
    assert after < 0.7 * before
