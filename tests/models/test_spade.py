import re

import pytest
import torch

from models.builders import Blueprint
from models.spade import SpadeNorm, SpadeSpec, spade_generator

TINY = "1_2_1_2_1_2_3_2 semantic=3"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize(("upsampling", "height", "width"), [("more", 64, 128), ("normal", 64, 96)])
def test_shapes_and_range(separable, upsampling, height, width):
    generator = spade_generator(f"{TINY} upsampling={upsampling}", 2, separable)
    images = generator(torch.rand(2, 3, height, width))
    assert images.shape == (2, 2, height, width)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("separable", [False, True])
def test_every_parameter_that_normalisation_does_not_cancel_gets_a_gradient(separable):
    generator = spade_generator(f"{TINY} upsampling=normal", 3, separable).double()
    # At the usual first weights, of deviation 0.02, gradients fade over seven blocks.
    for name, parameter in generator.named_parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
        if name.endswith("shared.bias"):
            torch.nn.init.ones_(parameter)  # two channels may both be dead by chance
    images = generator(torch.rand(2, 3, 64, 96, dtype=torch.float64))
    (images * torch.randn_like(images)).sum().backward()
    largest = {name: float(parameter.grad.abs().max()) for name, parameter in generator.named_parameters()}
    # Every constant that is added to a channel is taken away by the next normalisation; after up_3 comes none.
    added = r"(fc|conv_0|conv_1|depthwise|norm_s\.beta|norm_s\.beta\.pointwise)\.bias$"
    seen = r"up_3\.(conv_1|norm_s\.beta|norm_s\.beta\.pointwise)\.bias$"
    cancelled = {name for name in largest if re.search(added, name) and not re.match(seen, name)}
    assert len(cancelled) >= 14
    assert all(largest[name] < 1e-8 for name in cancelled)
    assert all(value > 1e-6 for name, value in largest.items() if name not in cancelled)


def test_blocks_have_the_widths_of_the_spec():
    # GAN Compression: trunk 16 c0; hidden of head_0, middle_0, middle_1 16 c1, 16 c2, 16 c3; up_0 8 c4; up_1 4 c5;
    # up_2 2 c6; up_3 c7; modulation of block j 2 c_j; a block with a learned shortcut is as wide inside as it puts out.
    spec = SpadeSpec.parse("1_2_3_4_5_6_7_8")
    assert spec.trunk == 16
    assert [(block.in_channels, block.hidden, block.out_channels) for block in spec.trunk_blocks] == [
        (16, 32, 16),
        (16, 48, 16),
        (16, 64, 16),
    ]
    assert [(block.in_channels, block.hidden, block.out_channels) for block in spec.up_blocks] == [
        (16, 40, 40),
        (40, 24, 24),
        (24, 14, 14),
        (14, 8, 8),
    ]
    blocks = (*spec.trunk_blocks, *spec.up_blocks)
    assert [block.modulation for block in blocks] == [4, 6, 8, 10, 12, 14, 16]
    assert [block.learned_shortcut for block in blocks] == [False] * 3 + [True] * 4


def test_submodules_have_the_names_of_the_paper():
    generator = spade_generator(TINY, 3, separable=False)
    names = "fc head_0 middle_0 middle_1 up_0 up_1 up_2 up_3 head"
    assert [name for name, _ in generator.named_children()] == names.split()


def test_modulation_follows_equation_1():
    norm = SpadeNorm(4, semantic=3, modulation=5, separable=False)
    x, labels = 3 * torch.randn(2, 4, 6, 8) + 1, torch.rand(2, 3, 12, 16)
    mean, deviation = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True).add(1e-5).sqrt()
    shared = torch.relu(norm.shared(labels[:, :, ::2, ::2]))  # nearest: every second pixel
    expected = (x - mean) / deviation * (1 + norm.gamma(shared)) + norm.beta(shared)
    assert torch.allclose(norm(x, labels), expected, atol=1e-5)


def test_the_image_depends_on_the_label_map_in_every_place():
    generator = spade_generator("ngf=2 semantic=3 upsampling=normal", 3, separable=False).eval()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    labels = torch.zeros(1, 3, 64, 64)
    labels[:, 0] = 1
    changed = labels.clone()
    changed[:, :, 48:, 48:] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    with torch.no_grad():
        difference = (generator(labels) - generator(changed)).abs()[0]
    assert difference[:, 48:, 48:].mean() > 1e-3


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ngf=64", "ngf=64 semantic=36 upsampling=more"),
        ("semantic=8 ngf=4 upsampling=normal", "ngf=4 semantic=8 upsampling=normal"),
        ("32_32_48_32_32_32_32_24 (ngf=48)", "32_32_48_32_32_32_32_24 semantic=36 upsampling=more"),
    ],
)
def test_spec_text_round_trip(text, canonical):
    spec = SpadeSpec.parse(text)
    assert str(spec) == canonical
    assert SpadeSpec.parse(canonical) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("semantic=36", "spec 'semantic=36' must give the base channels once"),
        ("ngf=4 upsampling=most", "upsampling must be one of normal, more, found 'most'"),
        ("ngf=4 semantic=many", "semantic must be a whole number of at least 1, found 'many'"),
        ("ngf=4 crop=512", "unknown option 'crop'; known: ngf, semantic, upsampling"),
        ("1_2_3", "'1_2_3' has 3 base channels"),
    ],
)
def test_bad_specs_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SpadeSpec.parse(text)


def test_a_spec_without_label_channels_is_refused():
    with pytest.raises(ValueError, match="semantic must be at least 1 channel, found 0"):
        SpadeSpec((1,) * 8, semantic=0)


@pytest.mark.parametrize(
    ("upsampling", "height", "width", "step"), [("more", 96, 128, 64), ("normal", 32, 32, 32), ("more", 64, 64, 64)]
)
def test_bad_sizes_are_refused(upsampling, height, width, step):
    generator = spade_generator(f"{TINY} upsampling={upsampling}", 3, separable=False)
    message = f"upsampling={upsampling} makes images whose height and width are multiples of {step}, above "
    with pytest.raises(ValueError, match=f"{message}{step}x{step}; found {height}x{width}"):
        generator(torch.zeros(1, 3, height, width))


def test_blueprint_rebuilds_it():
    own = spade_generator(TINY, 3, separable=True)
    rebuilt = Blueprint("spade_generator", {"spec": TINY, "channels": 3, "separable": True}).build()
    assert rebuilt.state_dict().keys() == own.state_dict().keys()
