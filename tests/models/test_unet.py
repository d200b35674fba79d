import re
from itertools import pairwise

import pytest
import torch
from torch import nn

from models.elastic import Elastic, NoInitialisation, WidthSpace
from models.unet import UnetSpec, check_image_size, unet_generator, unet_kept

UNEQUAL = "2_3_1_2"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomise(generator):
    """Weights large enough that every channel matters, and statistics unlike the first ones."""
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if tensor.is_floating_point():
                tensor.normal_(0, 0.3)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return generator


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 48)])
def test_shapes_and_range(norm, height, width):
    generator = unet_generator(UNEQUAL, 2, 3, 4, norm)
    images = generator(torch.randn(2, 2, height, width))
    assert images.shape == (2, 3, height, width)
    assert images.abs().max() <= 1


@pytest.mark.parametrize(
    ("downs", "norm", "published"),
    [(8, "batch", 54_413_955), (7, "batch", None), (8, "instance", None), (5, "batch", None)],
)
def test_parameters_follow_the_paper(downs, norm, published):
    # Isola et al. 2017: encoder C64-C128-C256-C512-…-C512, kernels 4x4; the decoder reads two of each level but of the
    # innermost. Beside the weights: two numbers a batch-normalised channel, or a bias for each convolution's channel.
    widths = [64 * min(2**level, 8) for level in range(downs)]
    weights = 16 * (3 * 64 + sum(a * b for a, b in pairwise(widths)))
    weights += 16 * (sum(2 * b * a for a, b in pairwise(widths[:-1])) + widths[-1] * widths[-2])
    weights += 16 * 2 * 64 * 3
    affine, biases = 2 * (sum(widths[1:-1]) + sum(widths[:-1])), sum(widths) + sum(widths[:-1])
    with torch.device("meta"), NoInitialisation():
        counted = sum(one.numel() for one in unet_generator("ngf=64", 3, 3, downs, norm).parameters())
    assert counted == weights + (affine if norm == "batch" else biases) + 3
    assert counted == (published or counted)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_every_weight_gets_a_gradient(norm):
    generator = randomise(unet_generator(UNEQUAL, 3, 3, 4, norm).double())
    images = generator(torch.randn(3, 3, 32, 32, dtype=torch.float64))
    (images * torch.randn_like(images)).sum().backward()
    weights = [one for one in generator.parameters() if one.dim() > 1]
    assert len(weights) == 8
    assert all(float(one.grad.abs().max()) > 1e-9 for one in weights)


def test_levels_have_the_widths_of_the_spec():
    spec = UnetSpec.parse("1_2_3_4_5", 5)
    assert spec.widths == (1, 4, 12, 32, 40)
    generator = unet_generator(str(spec), 3, 2, 5)
    assert [down.conv.out_channels for down in generator.downs] == list(spec.widths)
    assert [up.conv.in_channels for up in generator.ups] == [2, 8, 24, 64, 40]
    assert [up.conv.out_channels for up in generator.ups] == [2, 1, 4, 12, 32]


def test_the_innermost_level_sees_the_whole_image_and_the_skips_carry_the_rest():
    generator = randomise(unet_generator("ngf=2", 1, 1, 3).double()).eval()
    images = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        normal = generator(images)
        for level in range(2):  # without the innermost level's half, only the skip connections are left
            generator.ups[level].conv.weight[generator.downs[level].conv.out_channels :].zero_()
        changed = images.clone()
        changed[0, 0, 7, 7] += 1
        cut = generator(images)
        moved = (generator(changed) - cut)[0, 0].abs() > 1e-12
    assert not torch.allclose(cut, normal)
    assert moved.any()
    assert not moved[:4, :4].any()  # the outermost skip is local: two convolutions of 4x4


def test_dropout_acts_in_training_and_on_the_levels_of_pix2pix_only():
    generator = unet_generator("ngf=1", 3, 3, 8, dropout_rate=0.5)
    assert [up.dropout.p for up in generator.ups] == [0, 0, 0, 0, 0.5, 0.5, 0.5, 0]
    images = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        assert not torch.equal(generator(images), generator(images))
        generator.eval()
        assert torch.equal(generator(images), generator(images))


def test_one_image_of_one_innermost_pixel_can_be_trained_on():
    images = torch.randn(1, 3, 16, 16)
    for norm in ("batch", "instance"):
        assert unet_generator("ngf=2", 3, 3, 4, norm).train()(images).isfinite().all()


def cut(wide, narrow, kept):
    """The state of `narrow` out of `wide`: kept indices, or the first ones."""
    own, state = narrow.state_dict(), {}
    for name, tensor in wide.state_dict().items():
        indices = kept.get(name, (None,) * tensor.dim())
        for dim, index in enumerate(indices):
            chosen = torch.arange(own[name].shape[dim]) if index is None else index
            tensor = tensor.index_select(dim, chosen)
        state[name] = tensor
    return state


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("text", ["2_3_1_2_4", "4_1_4_4_3", "ngf=1"])
def test_a_narrow_generator_is_the_wide_one_with_channels_masked(norm, text):
    wide_spec, narrow_spec = UnetSpec.parse("ngf=4", 5), UnetSpec.parse(text, 5)
    wide = randomise(unet_generator("ngf=4", 3, 3, 5, norm).double()).eval()
    narrow = unet_generator(text, 3, 3, 5, norm).double().eval()
    narrow.load_state_dict(cut(wide, narrow, unet_kept(narrow_spec, wide_spec)))

    def mask(width):
        def hook(_module, _inputs, output):
            output[:, width:] = 0
            return output

        return hook

    images = torch.randn(2, 3, 32, 64, dtype=torch.float64)
    with torch.no_grad():
        unmasked = wide(images)
        for level, width in enumerate(narrow_spec.widths):
            wide.downs[level].register_forward_hook(mask(width))
            if level > 0:
                wide.ups[level].register_forward_hook(mask(narrow_spec.widths[level - 1]))
        masked = wide(images)
        images = narrow(images)
    assert torch.allclose(images, masked, atol=1e-12)
    assert not torch.allclose(masked, unmasked, atol=1e-3)  # the channels that went did matter


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_supernet_runs_what_it_extracts_bit_for_bit(norm):
    def build(spec):
        return unet_generator(spec.text, 3, 3, 3, norm)

    def kept(narrow, wide):
        return unet_kept(UnetSpec(narrow.numbers), UnetSpec(wide.numbers))

    supernet = Elastic(WidthSpace(((1, 2), (1, 3), (2, 4))), build, kept).eval()
    randomise(supernet.widest)
    images = torch.randn(2, 3, 16, 8)
    for spec in supernet.space:
        statistics = supernet.calibrate(torch.randn(4, 3, 16, 8), spec)
        with torch.no_grad():
            assert torch.equal(supernet(images, spec, statistics), supernet.extract(spec, statistics)(images))


def test_only_layers_that_read_a_concatenation_have_kept_channels():
    kept = unet_kept(UnetSpec.parse("1_2_1", 3), UnetSpec.parse("2_2_2", 3))
    assert {name: indices[0].tolist() for name, indices in kept.items()} == {
        "ups.0.conv.weight": [0, 2],
        "ups.1.conv.weight": [0, 1, 2, 3, 4, 5, 6, 7],
    }
    assert all(indices[1:] == (None, None, None) for indices in kept.values())


def test_a_generator_that_does_not_fit_into_the_wide_one_is_refused():
    with pytest.raises(ValueError, match="the U-Net 2_3_1 does not fit into ngf=2"):
        unet_kept(UnetSpec.parse("2_3_1", 3), UnetSpec.parse("ngf=2", 3))
    with pytest.raises(ValueError, match="U-Nets of 3 and 4 levels have no weights in common"):
        unet_kept(UnetSpec.parse("ngf=1", 3), UnetSpec.parse("ngf=1", 4))


@pytest.mark.parametrize("text", ["ngf=64", UNEQUAL])
def test_spec_text_round_trip(text):
    assert str(UnetSpec.parse(text, 4)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must give the base channels once"),
        ("8_8", "'8_8' has 2 base channels; this generator takes 4, or ngf=<number>"),
        ("0_1_1_1", "every base channel must be at least 1, found 0"),
        ("ngf=0", "ngf must be a whole number of at least 1, found '0'"),
        ("ngf=4 norm=batch", "unknown option 'norm'; known: ngf"),
    ],
)
def test_bad_specs_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        UnetSpec.parse(text, 4)


def test_bad_levels_norms_and_rates_are_refused():
    with pytest.raises(ValueError, match="at least 2 levels, found 1"):
        unet_generator("ngf=2", 3, 3, 1)
    with pytest.raises(ValueError, match="norm must be one of batch, instance, found 'group'"):
        unet_generator("ngf=2", 3, 3, 4, "group")
    with pytest.raises(ValueError, match="dropout"):
        unet_generator("ngf=1", 3, 3, 6, dropout_rate=2.0)


@pytest.mark.parametrize(("height", "width"), [(8, 16), (16, 24), (0, 16)])
def test_bad_sizes_are_refused(height, width):
    message = f"a U-Net of 4 levels takes heights and widths that are multiples of 16, found {height}x{width}"
    with pytest.raises(ValueError, match=message):
        check_image_size(height, width, 4)


def test_the_generator_itself_refuses_a_bad_size():
    with pytest.raises(ValueError, match="multiples of 16, found 24x32"):
        unet_generator("ngf=1", 3, 3, 4)(torch.zeros(1, 3, 24, 32))


def test_the_image_and_the_innermost_pixel_are_not_normalised():
    generator = unet_generator("ngf=1", 3, 3, 3)
    assert isinstance(generator.downs[0].norm, nn.Identity)
    assert isinstance(generator.downs[2].norm, nn.Identity)
    assert isinstance(generator.downs[1].norm, nn.BatchNorm2d)
    assert [isinstance(up.norm, nn.BatchNorm2d) for up in generator.ups] == [False, True, True]
