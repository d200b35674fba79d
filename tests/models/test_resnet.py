import re

import pytest
import torch

from models.builders import Blueprint
from models.edge_resnet import edge_resnet_generator
from models.resnet import ResnetSpec, check_image_size, resnet_generator

NAMES = ["stem", "down1", "down2", "blocks", "up1", "up2", "head"]
UNEQUAL = "2_3_4_5_6_2_3_4"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (20, 12), (32, 64)])
@pytest.mark.parametrize("build", [resnet_generator, edge_resnet_generator])
def test_shapes_and_range(build, separable, height, width):
    generator = build(UNEQUAL, 2, 3, separable)
    images = generator(torch.randn(2, 2, height, width))
    assert images.shape == (2, 3, height, width)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("separable", [False, True])
def test_every_parameter_that_normalisation_does_not_cancel_gets_a_gradient(separable):
    generator = resnet_generator(UNEQUAL, 3, 3, separable).double()
    images = generator(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    (images * torch.randn_like(images)).sum().backward()
    largest = {name: float(parameter.grad.abs().max()) for name, parameter in generator.named_parameters()}
    # Instance normalisation takes the mean away, and with it the bias of the convolution before it: all but the head's.
    cancelled = {name for name in largest if name.endswith("bias") and not name.startswith("head")}
    assert all(largest[name] < 1e-9 for name in cancelled)
    assert all(value > 1e-9 for name, value in largest.items() if name not in cancelled)


def test_layers_have_the_widths_of_the_spec():
    # GAN Compression: stem c0; down1 2 c1; down2 and trunk 4 c2; block i hidden 4 c[3 + i // 3]; up1 2 c6; up2 c7.
    spec = ResnetSpec.parse("1_2_3_4_5_6_7_8")
    assert (spec.stem, spec.down1, spec.trunk, spec.up1, spec.up2) == (1, 4, 12, 14, 8)
    assert spec.hidden == (16,) * 3 + (20,) * 3 + (24,) * 3
    generator = resnet_generator(str(spec), 3, 3, separable=False)
    assert [name for name, _ in generator.named_children()] == NAMES
    assert [block.conv1[1].weight.shape[:2] for block in generator.blocks] == [(hidden, 12) for hidden in spec.hidden]


def test_images_are_normalised_one_by_one():
    generator = resnet_generator(UNEQUAL, 3, 3, separable=True).double().eval()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        alone = torch.cat([generator(image[None]) for image in images])
        assert torch.allclose(generator(images), alone, atol=1e-9)
        assert torch.allclose(generator.train()(images), alone, atol=1e-9)  # no running statistics


def test_dropout_acts_in_training_only():
    generator = resnet_generator("ngf=2", 3, 3, separable=False, dropout_rate=0.5)
    images = torch.randn(1, 3, 16, 16)
    assert not torch.equal(generator(images), generator(images))
    generator.eval()
    assert torch.equal(generator(images), generator(images))


@pytest.mark.parametrize("text", ["ngf=64", UNEQUAL])
def test_spec_text_round_trip(text):
    assert str(ResnetSpec.parse(text)) == text


def test_a_number_for_each_layer_may_equal_one_for_all():
    assert ResnetSpec.parse("_".join(["16"] * 8)) == ResnetSpec.parse("ngf=16")
    assert ResnetSpec.parse(f"{UNEQUAL} (ngf=6)") == ResnetSpec.parse(UNEQUAL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "spec '' must give the base channels once, e.g. 'ngf=64' or '16_16_32_16_32_32_16_16'"),
        (f"{UNEQUAL} {UNEQUAL}", "must give the base channels once"),
        ("16_16", "'16_16' has 2 base channels; this generator takes 8, or ngf=<number>"),
        ("wide", "base channels 'wide' are not whole numbers joined by '_'"),
        ("-1_1_1_1_1_1_1_1", "are not whole numbers"),
        ("0_1_1_1_1_1_1_1", "every base channel must be at least 1, found 0"),
        ("ngf=wide", "ngf must be a whole number of at least 1, found 'wide'"),
        ("ngf=4 ngf=4", "gives 'ngf' twice"),
        ("ngf=4 semantic=3", "unknown option 'semantic'; known: ngf"),
        (f"{UNEQUAL} (ngf=5)", "6 channels do not fit into a supernet of ngf=5"),
    ],
)
def test_bad_specs_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ResnetSpec.parse(text)


def test_a_spec_of_seven_numbers_is_refused():
    with pytest.raises(ValueError, match="8 base channels c0 … c7, found 7"):
        ResnetSpec((1,) * 7)


@pytest.mark.parametrize(("height", "width"), [(4, 8), (8, 10), (0, 8)])
def test_bad_sizes_are_refused(height, width):
    with pytest.raises(ValueError, match=f"8, 12, 16, … pixels, found {height}x{width}"):
        check_image_size(height, width)


def test_the_generator_itself_refuses_a_bad_size():
    with pytest.raises(ValueError, match="found 30x32"):
        resnet_generator("ngf=1", 3, 3, separable=False)(torch.zeros(1, 3, 30, 32))


def test_blueprint_rebuilds_it():
    arguments = {"spec": UNEQUAL, "in_channels": 1, "out_channels": 3, "separable": True}
    own = resnet_generator(UNEQUAL, 1, 3, separable=True)
    assert Blueprint("resnet_generator", arguments).build().state_dict().keys() == own.state_dict().keys()
