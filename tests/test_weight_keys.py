import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from ganpress.errors import CheckpointError
from ganpress.imported.weight_keys import import_generator, map_keys, read_state, spec_of_state
from models.resnet import resnet_generator
from models.separable import SeparableConv
from models.unet import unet_generator

SPEC = "2_3_4_5_6_2_3_4"
ZEBRA, SORREL = 340, 339
"""Classes of ImageNet; sorrel is the one with brown horses."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class PublishedBlock(nn.Module):
    """A residual block laid out as in CycleGAN's code: with dropout the second convolution is number 6, else 5."""

    def __init__(self, trunk, hidden, conv, dropout):
        super().__init__()
        first = [nn.ReflectionPad2d(1), conv(trunk, hidden), nn.InstanceNorm2d(hidden), nn.ReLU()]
        second = [nn.ReflectionPad2d(1), conv(hidden, trunk), nn.InstanceNorm2d(trunk)]
        self.conv_block = nn.Sequential(*first, *([nn.Dropout(0.5)] if dropout else []), *second)

    def forward(self, x):
        return x + self.conv_block(x)


class PublishedSeparable(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        depthwise = nn.Conv2d(before, before, 3, groups=before)
        self.conv = nn.Sequential(depthwise, nn.InstanceNorm2d(before), nn.Conv2d(before, after, 1))

    def forward(self, x):
        return self.conv(x)


class PublishedResnet(nn.Module):
    """Nine blocks between three layers down and three up in one Sequential, as the published code bases have them."""

    def __init__(self, c, conv, dropout=False):
        super().__init__()

        def normalised(conv, channels):
            return [conv, nn.InstanceNorm2d(channels), nn.ReLU()]

        layers = [nn.ReflectionPad2d(3), *normalised(nn.Conv2d(3, c[0], 7), c[0])]
        layers += normalised(nn.Conv2d(c[0], 2 * c[1], 3, 2, 1), 2 * c[1])
        layers += normalised(nn.Conv2d(2 * c[1], 4 * c[2], 3, 2, 1), 4 * c[2])
        layers += [PublishedBlock(4 * c[2], 4 * c[3 + block // 3], conv, dropout) for block in range(9)]
        layers += normalised(nn.ConvTranspose2d(4 * c[2], 2 * c[6], 3, 2, 1, 1), 2 * c[6])
        layers += normalised(nn.ConvTranspose2d(2 * c[6], c[7], 3, 2, 1, 1), c[7])
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(c[7], 3, 7), nn.Tanh())

    def forward(self, images):
        return self.model(images)


class PublishedUnetLevel(nn.Module):
    """A level of pix2pix's U-Net: a Sequential with the next level inside; activations are in place, as published."""

    def __init__(self, widths, read, left, norm, level=0):
        super().__init__()
        width, bias = widths[level], norm is nn.InstanceNorm2d
        self.outermost, innermost = level == 0, level == len(widths) - 1
        down, relu = nn.Conv2d(read, width, 4, 2, 1, bias=bias), nn.ReLU(True)
        if self.outermost:
            inner = PublishedUnetLevel(widths, width, width, norm, 1)
            parts = [down, inner, relu, nn.ConvTranspose2d(2 * width, left, 4, 2, 1), nn.Tanh()]
        elif innermost:
            up = nn.ConvTranspose2d(width, left, 4, 2, 1, bias=bias)
            parts = [nn.LeakyReLU(0.2, True), down, relu, up, norm(left)]
        else:
            inner = PublishedUnetLevel(widths, width, width, norm, level + 1)
            up = nn.ConvTranspose2d(2 * width, left, 4, 2, 1, bias=bias)
            parts = [nn.LeakyReLU(0.2, True), down, norm(width), inner, relu, up, norm(left)]
        self.model = nn.Sequential(*parts)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class PublishedUnet(nn.Module):
    def __init__(self, widths, norm, read=3, left=3):
        super().__init__()
        self.model = PublishedUnetLevel(widths, read, left, norm)

    def forward(self, images):
        return self.model(images)


def randomised(network):
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.normal_(0, 0.2)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return network.eval()


def imported(published, keys):
    state = published.state_dict()
    inferred = spec_of_state(state, keys)
    network = inferred.blueprint.build().eval()
    network.load_state_dict(map_keys(state, keys, network))
    return network, inferred


def plain(before, after):
    return nn.Conv2d(before, after, 3)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize(
    ("keys", "conv", "family"),
    [("cyclegan", plain, "resnet_9blocks"), ("gan_compression", PublishedSeparable, "mobile_resnet_9blocks")],
)
def test_a_resnet_makes_the_same_images_under_our_names(keys, conv, family, dropout):
    published = randomised(PublishedResnet([int(number) for number in SPEC.split("_")], conv, dropout))
    network, inferred = imported(published, keys)
    images = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        assert torch.allclose(network(images), published(images), atol=1e-5)
    assert inferred.name == f"{family}:{SPEC}"
    assert (inferred.blueprint.arguments["in_channels"], inferred.blueprint.arguments["out_channels"]) == (3, 3)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
@pytest.mark.parametrize(("widths", "name"), [((2, 4, 8, 16, 16), "unet_32:ngf=2"), ((3, 4, 12, 8), "unet_16:3_2_3_1")])
def test_a_unet_makes_the_same_images_under_our_names(widths, name, norm):
    published = randomised(PublishedUnet(widths, norm, read=1))
    network, inferred = imported(published, "pix2pix_unet")
    images = torch.randn(2, 1, 32, 64)
    with torch.no_grad():
        assert torch.allclose(network(images), published(images), atol=1e-5)
    assert inferred.name == name
    assert inferred.blueprint.arguments["in_channels"] == 1


def test_the_eight_levels_of_unet_256_are_told_by_their_names():
    state = PublishedUnet([min(2**level, 8) for level in range(8)], nn.BatchNorm2d).state_dict()
    network = unet_generator("ngf=1", 3, 3)
    assert spec_of_state(state, "pix2pix_unet").name == "unet_256:ngf=1"
    assert map_keys(state, "pix2pix_unet", network).keys() == network.state_dict().keys()


def test_statistics_that_old_files_hold_for_instance_norms_are_left_out():
    state = dict(PublishedResnet([2] * 8, plain).state_dict())
    old = {"model.2.running_mean": torch.zeros(2), "model.10.conv_block.2.running_var": torch.ones(8)}
    network = resnet_generator("ngf=2", 3, 3, separable=False)
    assert map_keys(state | old, "cyclegan", network).keys() == network.state_dict().keys()


def test_batch_counts_that_old_files_lack_stay_as_they_are():
    state = PublishedUnet((2, 4, 8), nn.BatchNorm2d).state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    network = unet_generator("ngf=2", 3, 3, 3)
    mapped = map_keys(old, "pix2pix_unet", network)
    network.load_state_dict(mapped)
    assert len(mapped) > len(old)


@pytest.fixture
def state():
    return dict(PublishedResnet([2] * 8, plain).state_dict())


@pytest.fixture
def network():
    return resnet_generator("ngf=2", 3, 3, separable=False)


def refused(message):
    return pytest.raises(CheckpointError, match=re.escape(message))


def test_the_first_missing_layer_is_named_by_both_names(state, network):
    del state["model.22.weight"]
    del state["model.7.bias"]
    with refused("w.pth lacks 'model.7.bias', our 'down2.0.bias' (8,)"):
        map_keys(state, "cyclegan", network, "w.pth")


def test_the_first_layer_of_another_shape_is_named_by_both_names(state):
    narrow = resnet_generator("2_2_1_2_2_2_2_2", 3, 3, separable=False)
    message = "w.pth: 'model.7.weight' is (8, 4, 3, 3), our 'down2.0.weight' needs (4, 4, 3, 3): another width or"
    with refused(message):
        map_keys(state, "cyclegan", narrow, "w.pth")


def test_a_layer_that_we_do_not_have_is_named(state, network):
    state["model.2.weight"] = torch.zeros(2)
    state["model.2.running_mean"] = torch.zeros(2)  # no leftover: this is a norm with parameters
    with refused("w.pth holds 'model.2.weight' (2,), which our ResnetGenerator has no layer for"):
        map_keys(state, "cyclegan", network, "w.pth")


def test_a_deeper_network_than_the_weights_is_refused():
    state = PublishedUnet((2, 4, 8), nn.BatchNorm2d).state_dict()
    with refused("as 'pix2pix_unet' it has no layer for our 'downs.2.norm.weight' (8,)"):
        map_keys(state, "pix2pix_unet", unet_generator("ngf=2", 3, 3, 4))


def test_unknown_keys_are_refused(state, network):
    message = "unknown keys 'stargan'; known: cyclegan, gan_compression, pix2pix_unet"
    with refused(message):
        spec_of_state(state, "stargan")
    with refused(message):
        map_keys(state, "stargan", network)


def test_weights_of_another_mapping_are_told_by_their_names(state):
    message = (
        "w.pth does not fit the keys 'gan_compression': it lacks 'model.10.conv_block.1.conv.2.weight', our "
        "'blocks.0.conv1.1.pointwise.weight'; its names are those of the keys 'cyclegan'"
    )
    with refused(message):
        spec_of_state(state, "gan_compression", "w.pth")
    six_blocks = {name: tensor for name, tensor in state.items() if int(name.split(".")[1]) < 16}
    with refused("it lacks 'model.16.conv_block.1.weight', our 'blocks.6.conv1.1.weight'"):
        spec_of_state(six_blocks, "cyclegan")
    with refused("it lacks 'model.model.0.weight', our 'downs.0.conv.weight'"):
        spec_of_state({"fc.weight": torch.zeros(1, 1)}, "pix2pix_unet")


def test_impossible_widths_are_refused(state):
    with refused("'model.4.weight' has 3 channels, our 'down1.0' has a multiple of 2"):
        spec_of_state(state | {"model.4.weight": torch.zeros(3, 2, 3, 3)}, "cyclegan")
    with refused("'model.1.weight' is (2,), our 'stem.1.weight' is a convolution's"):
        spec_of_state(state | {"model.1.weight": torch.zeros(2)}, "cyclegan")


def test_a_file_comes_in_with_or_without_the_names_of_data_parallel(tmp_path):
    published = randomised(PublishedResnet([2] * 8, plain))
    images = torch.randn(1, 3, 16, 16)
    for prefix in ("", "module."):
        path = tmp_path / f"{prefix}G.pth"
        torch.save({prefix + name: tensor for name, tensor in published.state_dict().items()}, path)
        network, inferred = import_generator(path, "cyclegan")
        assert inferred.name == "resnet_9blocks:ngf=2"
        assert not network.training
        with torch.no_grad():
            assert torch.allclose(network(images), published(images), atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "G.pth holds nothing, not named tensors: save `model.state_dict()`"),
        (torch.zeros(2), "G.pth holds a Tensor, not named tensors"),
        ({"epoch": 3}, "G.pth holds a dict, not named tensors: save `model.state_dict()`"),
    ],
)
def test_files_that_are_no_state_dict_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "G.pth")
    with refused(message):
        read_state(tmp_path / "G.pth")


def test_pickled_code_is_refused(tmp_path):
    torch.save(SeparableConv(1, 1), tmp_path / "G.pth")
    with refused("G.pth is damaged or not a weights file"):
        read_state(tmp_path / "G.pth")


@pytest.fixture
def horse2zebra(shared_data):
    path = shared_data / "generators" / "gan_compression_horse2zebra.pth"
    if not path.is_file():
        pytest.skip(f"no published weights at {path}")
    return path


def picture(path):
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB")))  # (H, W, 3)
    return pixels.permute(2, 0, 1)[None].float() / 127.5 - 1


def test_the_published_sub_generator_is_told_by_its_weights_and_takes_a_coats_colour(horse2zebra):
    network, inferred = import_generator(horse2zebra, "gan_compression")
    assert inferred.name == "mobile_resnet_9blocks:16_16_32_16_32_32_16_16"
    horse = picture(horse2zebra.with_name("horse_2.png"))
    with torch.no_grad():
        zebra = network(horse)
    coat = horse[0, 0] - horse[0, 2] > 0.8  # the horse is the one thing that is orange
    colour = [float((image[0].amax(0) - image[0].amin(0))[coat].mean()) for image in (horse, zebra)]
    assert coat.float().mean() > 0.05
    assert colour[1] < 0.5 * colour[0]  # the coat loses its colour …
    assert zebra[0].mean(0)[coat].std() > 1.5 * horse[0].mean(0)[coat].std()  # … and becomes black and white


@pytest.mark.slow
def test_an_imagenet_classifier_sees_zebras(horse2zebra, shared_data):
    from torchvision.models import squeezenet1_0

    weights = shared_data / "squeezenet" / "squeezenet1_0_deepcompression_caffe_bgr.pth"
    if not weights.is_file():
        pytest.skip(f"no classifier at {weights}")
    classifier = squeezenet1_0(weights=None).eval()
    classifier.load_state_dict(read_state(weights))
    network, _ = import_generator(horse2zebra, "gan_compression")

    def probabilities(images):
        bgr = (images[:, [2, 1, 0]] + 1) * 127.5 - torch.tensor([104.0, 117.0, 123.0])[:, None, None]  # as in Caffe
        return classifier(functional.interpolate(bgr, (227, 227), mode="bilinear", antialias=True)).softmax(1)

    horses = torch.cat([picture(horse2zebra.with_name(f"horse_{index}.png")) for index in range(3)])
    with torch.no_grad():
        before, after = probabilities(horses), probabilities(network(horses))
    assert (after[:, ZEBRA] > before[:, ZEBRA] + 0.1).all()
    assert (after[:, SORREL] < before[:, SORREL]).all()
    assert int((after.argmax(1) == ZEBRA).sum()) >= 2
