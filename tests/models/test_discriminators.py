import re
from itertools import pairwise

import pytest
import torch
from torch import nn

from models.discriminators import check_image_size, multiscale_discriminator, patch_discriminator

NORMS = ["instance", "batch", "spectral", "spectral_instance"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def convolutions(discriminator):
    return [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(("layers", "pixels"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_logit_sees_a_patch_of_the_published_size(layers, pixels):
    # Isola et al. 2017, section 4.4: 16x16, 70x70. Batch norm in eval mode and positive weights keep every path alive.
    discriminator = patch_discriminator(1, 1, layers, "batch").double().eval()
    for conv in convolutions(discriminator):
        nn.init.constant_(conv.weight, 0.1)
    size = 2 * pixels + 2
    images = torch.zeros(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    logits = discriminator(images)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    rows, columns = images.grad[0, 0].nonzero(as_tuple=True)
    assert int(rows.max() - rows.min()) + 1 == pixels
    assert int(columns.max() - columns.min()) + 1 == pixels
    assert len(rows) == pixels**2


@pytest.mark.parametrize(("norm", "channels"), [("instance", 3), ("instance", 6), ("batch", 6), ("spectral", 3)])
def test_parameters_of_the_70x70_patchgan(norm, channels):
    # C64-C128-C256-C512 and one channel, all kernels 4x4; a bias each, in place of which batch norm has two numbers.
    widths = [channels, 64, 128, 256, 512, 1]
    weights = sum(16 * before * after for before, after in pairwise(widths))
    vectors = 64 + (128 + 256 + 512) * (2 if norm == "batch" else 1) + 1
    counted = parameters(patch_discriminator(channels, 64, norm=norm))
    assert counted == weights + vectors
    published = {("instance", 3): 2_764_737, ("instance", 6): 2_767_809, ("batch", 6): 2_768_705}
    assert counted == published.get((norm, channels), counted)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("layers", "height", "width"), [(3, 24, 32), (2, 16, 16), (1, 8, 10)])
def test_features_are_every_layers_output_and_end_in_the_logits(norm, layers, height, width):
    discriminator = patch_discriminator(4, 2, layers, norm)
    (features,) = discriminator.eval().features(torch.randn(3, 4, height, width))
    halved = [(2 * 2**layer, height >> layer + 1, width >> layer + 1) for layer in range(layers)]
    h, w = halved[-1][1:]
    assert [tuple(one.shape[1:]) for one in features] == [*halved, (2 * 2**layers, h - 1, w - 1), (1, h - 2, w - 2)]


def test_forward_gives_the_last_feature():
    discriminator = patch_discriminator(3, 2).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(discriminator(images), discriminator.features(images)[0][-1])
    assert any(value < 0 for value in discriminator(images).flatten())  # logits, not probabilities


def test_widths_stop_at_eight_times_the_first():
    assert [conv.out_channels for conv in convolutions(patch_discriminator(3, 2, 5))] == [2, 4, 8, 16, 16, 16, 1]


def test_the_first_and_the_last_layer_are_not_normalised():
    for norm, kind in (("instance", nn.InstanceNorm2d), ("batch", nn.BatchNorm2d)):
        layers = patch_discriminator(3, 2, 3, norm).layers
        normalised = [any(isinstance(part, kind) for part in layer.modules()) for layer in layers]
        assert normalised == [False, True, True, True, False]


@pytest.mark.parametrize("norm", ["spectral", "spectral_instance"])
def test_spectral_norm_holds_every_convolution_at_gain_one(norm):
    discriminator = patch_discriminator(3, 4, norm=norm).train()
    for conv in convolutions(discriminator):
        conv.parametrizations.weight.original.data.mul_(100)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for _ in range(60):  # one power iteration each
            discriminator(images)
    gains = [
        torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2) for conv in convolutions(discriminator.eval())
    ]
    assert torch.allclose(torch.stack(gains), torch.ones(5), atol=0.02)


@pytest.mark.parametrize("norm", NORMS)
def test_a_student_inherits_a_discriminator_by_its_state(norm):
    teacher, student = (multiscale_discriminator(3, 2, 2, 2, norm) for _ in range(2))
    images = torch.randn(2, 3, 32, 32)
    teacher(images)  # training moves the vectors of spectral norms, which are part of the state
    student.load_state_dict(teacher.state_dict())
    for ours, theirs in zip(student.eval()(images), teacher.eval()(images), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("norm", ["instance", "spectral_instance"])
def test_multiscale_judges_averaged_images(norm):
    discriminator = multiscale_discriminator(3, 2, 2, 3, norm).eval()
    images = torch.randn(2, 3, 32, 48)
    scales = discriminator(images)
    assert [len(layers) for layers in scales] == [4, 4, 4]
    assert [scale[-1].shape[1] for scale in scales] == [1, 1, 1]
    # Averaging with border pixels counted as they are: a constant stays constant.
    seen = []
    for one in discriminator.scales:
        one.layers[0].register_forward_hook(lambda module, arguments, output: seen.append(arguments[0]))
    discriminator(torch.full((1, 3, 32, 48), 0.25))
    assert [tuple(one.shape[2:]) for one in seen] == [(32, 48), (16, 24), (8, 12)]
    assert all(torch.equal(one, torch.full_like(one, 0.25)) for one in seen)


def test_scales_have_weights_of_their_own():
    one, three = multiscale_discriminator(3, 4, 3, 1), multiscale_discriminator(3, 4, 3, 3)
    assert parameters(three) == 3 * parameters(one) == 3 * parameters(patch_discriminator(3, 4))


@pytest.mark.parametrize("build", [lambda: patch_discriminator(3, 2), lambda: multiscale_discriminator(3, 2, 2, 2)])
def test_every_weight_gets_a_gradient(build):
    discriminator = build().double().train()
    scales = discriminator.features(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    sum((scale[-1] * torch.randn_like(scale[-1])).sum() for scale in scales).backward()
    weights = {name: one for name, one in discriminator.named_parameters() if one.dim() > 1}  # norms cancel biases
    assert len(weights) == len(convolutions(discriminator))
    assert all(float(one.grad.abs().max()) > 1e-9 for one in weights.values())


@pytest.mark.parametrize(("layers", "smallest"), [(1, 6), (2, 12), (3, 24), (4, 48)])
def test_images_without_a_logit_are_refused(layers, smallest):
    check_image_size(smallest, smallest, layers)
    message = f"of {layers} layers takes images of at least {smallest}x{smallest} pixels, found {smallest - 1}x99"
    with pytest.raises(ValueError, match=message):
        check_image_size(smallest - 1, 99, layers)
    with pytest.raises(ValueError, match="give it fewer layers"):
        patch_discriminator(3, 1, layers)(torch.zeros(1, 3, smallest - 1, 99))


def test_multiscale_keeps_a_logit_on_small_images():
    scales = multiscale_discriminator(3, 2, 3, 3)(torch.randn(2, 3, 16, 16))
    assert all(min(scale[-1].shape) >= 1 for scale in scales)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: patch_discriminator(0, 4), "must be at least 1, found in_channels=0, ndf=4, layers=3"),
        (lambda: patch_discriminator(3, 4, 0), "must be at least 1, found in_channels=3, ndf=4, layers=0"),
        (lambda: patch_discriminator(3, 4, norm="group"), "one of instance, batch, spectral, spectral_instance, found"),
        (lambda: multiscale_discriminator(3, 4, 3, 0), "1 to 16 scales, found 0"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()
