"""Rewriting a generator for deployment does not change its images."""

import pytest
import torch
from torch import nn

from ganpress.compression.preparation.sites import find_sites
from ganpress.edge.forms.float_forms import SubpixelConv, in_form
from ganpress.errors import ConfigError
from ganpress.structure.surgery import plain_convolution
from models.builders import Blueprint
from models.quantized_geometry import draws_one_pixel, geometry_of

GENERATORS = [("4", 16, 1), ("5_2", 16, 3), ("3", 32, 3), ("2_7_3", 32, 1), ("4", 64, 1), ("3_8_2_5", 64, 3)]


def latents(count):
    return torch.randn(count, 100, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("form", ["native", "subpixel"])
@pytest.mark.parametrize(("spec", "size", "channels"), GENERATORS)
def test_every_form_gives_the_same_images(trained_like, spec, size, channels, form):
    model, z = trained_like(spec, size, channels), latents(8)
    rewritten = in_form(model, form, z[:1])
    with torch.no_grad():
        wanted = model(z)
        assert wanted.std() > 0.1
        torch.testing.assert_close(rewritten(z), wanted, rtol=0, atol=1e-5)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in rewritten.modules())
    assert not rewritten.blocks[0].bias.any()  # it is the layer's own


def test_fresh_statistics_fold_too():
    model = Blueprint("wdcgan_generator", {"spec": "2", "size": 32, "channels": 1}).build().eval()
    z = latents(4)
    with torch.no_grad():
        torch.testing.assert_close(in_form(model, "subpixel", z[:1])(z), model(z), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kernel", "stride", "padding", "groups"), [(4, 1, 0, 1), (4, 2, 1, 2), (5, 3, 1, 1)])
def test_single_pixels_are_drawn_by_a_convolution_of_kernel_one(kernel, stride, padding, groups):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.ConvTranspose2d(6, 4, kernel, stride, padding, groups=groups)
    x = torch.randn(2, 6, 1, 1, generator=torch.Generator().manual_seed(0))
    assert draws_one_pixel(layer, tuple(x.shape))
    geometry = geometry_of(layer, pixel=True)
    found = SubpixelConv(geometry, *plain_convolution(layer, pixel=True), relu=False)(x)
    assert geometry.kernel == (1, 1)
    torch.testing.assert_close(found, layer(x), rtol=0, atol=1e-6)


def test_layers_of_larger_maps_draw_no_single_pixels():
    assert not draws_one_pixel(nn.ConvTranspose2d(3, 3, 4, 2, 1), (1, 3, 2, 2))
    assert not draws_one_pixel(nn.ConvTranspose2d(3, 3, (4, 3)), (1, 3, 1, 1))
    assert not draws_one_pixel(nn.Conv2d(3, 3, 1), (1, 3, 1, 1))


class Shifted(nn.Module):
    """A convolution whose result gets a parameter added, in one way or another."""

    def __init__(self, way):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.shift, self.way = nn.Parameter(torch.arange(4.0)), way

    def forward(self, x):
        x = self.conv(x)
        match self.way:
            case "index":
                x = x + self.shift[:, None, None]
            case "view":
                x = x + self.shift.view(1, -1, 1, 1)
            case "twice":
                x = x + self.shift[:, None, None] * self.shift.mean()
            case "columns":
                x = x + self.shift
        return self.head(torch.relu(x))


@pytest.mark.parametrize(
    ("way", "folded"), [("index", "shift"), ("view", "shift"), ("twice", None), ("columns", None), ("none", None)]
)
def test_an_added_parameter_is_part_of_the_layer_where_it_is_read_nowhere_else(way, folded):
    model, x = Shifted(way), torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    first, _ = find_sites(model, x[:1])
    assert (first.shift, first.follower) == (folded, "relu" if folded or way == "none" else None)
    with torch.no_grad():
        torch.testing.assert_close(in_form(model, "native", x[:1])(x), model(x), rtol=0, atol=1e-5)
    assert torch.equal(model.shift, torch.arange(4.0))


def test_normalisation_without_statistics_is_refused(trained_like):
    model = trained_like("2", 16, 1)
    model.blocks[0].norm.running_var = None
    with pytest.raises(ConfigError, match="without running statistics cannot be folded"):
        plain_convolution(model.blocks[0].conv, model.blocks[0].norm)
