"""Derived receptive fields compared with the effect of changing one pixel."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.structure.receptive_field import ReceptiveField, receptive_field
from models.builders import generator_blueprint
from models.family import Canvas

SIZE = 96


class Skipping(nn.Module):
    """Paths of several lengths that meet, and channels that are parted and joined."""

    def __init__(self):
        super().__init__()
        self.near, self.far = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 3, dilation=4, padding=4)

    def forward(self, x):
        first, second = (self.near(x) + self.far(x)).chunk(2, 1)
        return torch.cat([first, second * 2], 1)[:, :3]


class Resized(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.conv, self.options = nn.Conv2d(2, 3, 3, padding=1), options

    def forward(self, x):
        return functional.interpolate(self.conv(x), **self.options)


NETWORKS = {
    "one pixel": nn.Conv2d(2, 3, 1),
    "a window": nn.Conv2d(2, 3, (5, 3), padding="same"),
    "reflected borders": nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(2, 3, 7), nn.ReLU()),
    "dilated": nn.Sequential(nn.Conv2d(2, 4, 3, padding=2, dilation=2), nn.Conv2d(4, 3, 3, padding=1)),
    "paths": Skipping(),
    "down and up": nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    ),
    "pooled": nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(2, 4, 3, padding=1), nn.Upsample(scale_factor=2)),
    "shuffled": nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)),
    "enlarged": nn.Sequential(nn.Conv2d(2, 12, 3, padding=1), nn.PixelShuffle(2)),
    "enlarged by a kernel of 4": nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1),
    "bilinear": Resized(scale_factor=2, mode="bilinear"),
    "made smaller": Resized(scale_factor=0.5, mode="bilinear"),
    "every third pixel": Resized(scale_factor=1 / 3),
}  # fmt: skip


def positive(network):
    """Nothing cancels, and no rectifier is closed, so that every dependence shows in the gradient."""
    network = network.double().eval()
    for parameter in network.parameters():
        parameter.data.uniform_(0.5, 1)
    return network


def farthest(network, stride):
    """Measured: the farthest pixel with a gradient, over one period of results in the middle."""
    x = torch.rand(1, 2, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    images = network(x)
    scale = images.shape[2] / SIZE
    middle = SIZE // 2 // stride * stride
    reach = 0
    for row in range(round(middle * scale), round((middle + stride) * scale)):
        (gradient,) = torch.autograd.grad(images[0, :, row, row].sum(), x, retain_graph=True)
        touched = gradient.abs().sum((0, 1)).nonzero()
        reach = max(reach, int((touched - int(row / scale)).abs().max()))
    return reach


@pytest.mark.parametrize("name", NETWORKS)
def test_reach_is_what_the_gradient_shows(name):
    torch.manual_seed(0)
    network = positive(NETWORKS[name])
    field = receptive_field(network, torch.rand(1, 2, SIZE, SIZE, dtype=torch.float64))
    assert field.reach == farthest(network, field.stride)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shift_by_the_stride_shifts_the_result(name):
    torch.manual_seed(0)
    network = positive(NETWORKS[name])
    x = torch.rand(1, 2, SIZE, SIZE, dtype=torch.float64)
    field = receptive_field(network, x)
    images, moved = network(x), network(x.roll(field.stride, 3))
    by, edge = (round(one * images.shape[3] / SIZE) for one in (field.stride, field.stride + field.reach + 1))
    torch.testing.assert_close(moved[..., edge + by : -edge], images[..., edge : -edge - by])


def test_norms_by_the_picture_reach_everywhere():
    canvas = Canvas(3, 64, 64, 3)
    resnet = generator_blueprint("resnet_9blocks:ngf=8", canvas)
    assert receptive_field(resnet.build(), torch.rand(1, 3, 64, 64)) == ReceptiveField(None, 4)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(1)),
        nn.Sequential(nn.Flatten(), nn.Linear(2 * 8 * 8, 4)),
        nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")),
    ],
)
def test_what_is_not_known_counts_as_everything(network):
    assert receptive_field(network, torch.rand(1, 2, 8, 8)) == ReceptiveField(None, 1)


def test_constants_that_differ_between_pixels_fix_the_place():
    class Placed(nn.Module):
        def forward(self, x):
            return x + torch.arange(8.0)

    class Scaled(nn.Module):
        def forward(self, x):
            return x * torch.rand(1, 2, 1, 1)

    assert receptive_field(Placed(), torch.rand(1, 2, 8, 8)) == ReceptiveField(None, 1)
    assert receptive_field(Scaled(), torch.rand(1, 2, 8, 8)) == ReceptiveField(0, 1)
