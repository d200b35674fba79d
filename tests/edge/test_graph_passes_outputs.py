"""Layers that compute blocks of pixels: the same images and quantized values, and fewer empty lanes."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.forms.float_forms import SubpixelConv, in_form
from ganpress.edge.forms.pixel_blocks import in_blocks, widen_outputs
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.proof.verification import verify_export
from ganpress.structure.surgery import transposed_weight
from models.quantized_geometry import geometry_of
from models.quantized_layers import QuantizedConv
from models.resnet import resnet_generator


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("block", [2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (9, 14), (7, 5)])
@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(5, 3, 7, padding=1), nn.Conv2d(5, 1, (3, 4), padding=(2, 1)), nn.ConvTranspose2d(5, 2, 4, 2, 1)],
    ids=["head", "odd kernel", "transposed"],
)
def test_blocks_hold_the_same_pixels(layer, size, block):
    x = torch.randn(2, 5, *size).double()
    weight = layer.weight.double()
    plain = geometry_of(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        wanted = functional.conv_transpose2d(x, weight, None, layer.stride, layer.padding)
        weight = transposed_weight(layer, weight)
    else:
        wanted = functional.conv2d(x, weight, None, padding=layer.padding)
    geometry, blocks = in_blocks(plain, weight, block, size)
    assert geometry.stride == (block, block)
    found = geometry.rearrange(geometry.convolve(x, blocks, None))
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, atol=1e-12)


def test_only_narrow_layers_change_and_the_given_generator_does_not():
    model, example = resnet_generator("4_4_4_4_4_4_4_4", 3, 3, separable=True).eval(), torch.randn(1, 3, 16, 20)
    wide = widen_outputs(model, example, math.inf)
    changed = [name for name, layer in wide.named_modules() if isinstance(layer, SubpixelConv)]
    assert "head.1" in changed
    assert not any(name.startswith("down") for name in changed)  # of stride 2
    assert isinstance(model.head[1], nn.Conv2d)
    with torch.no_grad():
        assert torch.allclose(wide(example), model(example), atol=1e-5)


def test_zeros_are_added_where_they_save_most_and_within_the_limit():
    model, example = resnet_generator("4_4_4_4_4_4_4_4", 3, 3, separable=True).eval(), torch.randn(1, 3, 64, 64)

    def weights(network):
        return sum(tensor.numel() for tensor in network.state_dict().values())

    free, bound = (widen_outputs(model, example, growth) for growth in (math.inf, 0.3))
    changed = [name for name, layer in bound.named_modules() if isinstance(layer, SubpixelConv)]
    assert weights(free) > 1.3 * weights(model) >= weights(bound) > weights(model)
    assert "head.1" in changed  # of the largest pictures
    with torch.no_grad():
        assert torch.allclose(bound(example), model(example), atol=1e-5)


def test_a_generator_without_narrow_layers_is_given_back():
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 64, 1))
    assert widen_outputs(model, torch.randn(1, 3, 8, 8)) is model


def test_a_layer_that_runs_at_two_sizes_stays():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 5)

        def forward(self, x):
            return self.conv(x).mean() + self.conv(x[..., ::2])

    wide = widen_outputs(Pyramid(), torch.randn(1, 3, 16, 16), math.inf)
    assert isinstance(wide.conv, nn.Conv2d)


@pytest.mark.parametrize("form", ["native", "subpixel"])
def test_wdcgan_in_blocks_is_exported_as_it_is_and_not_as_a_known_graph(trained_like, tmp_path, form):
    model, z = trained_like("4", 32, 1), torch.randn(20, 100)
    wide = widen_outputs(in_form(model, form, z), z, math.inf)
    export_onnx(wide, tmp_path / "generator.onnx", z)
    assert verify_export(model, tmp_path / "generator.onnx", z, tolerance=1e-5).max_abs_error <= 1e-5


@pytest.mark.parametrize("options", [{}, {"channel_inputs": True}])
def test_codes_of_a_quantized_head_are_the_same(options):
    model, example = resnet_generator("4_4_4_4_4_4_4_4", 3, 3, separable=False).eval(), torch.randn(2, 3, 16, 16)
    quantized = quantize(model, example, QuantizationConfig(8, 8, max_crest=1e9, **options))
    wide = widen_outputs(quantized, example, math.inf)
    head = wide.quantized_layer("head.1")
    assert isinstance(head, QuantizedConv)
    assert head.geometry.factor > 1
    assert head.weight.dtype == torch.int8
    with torch.no_grad():
        assert torch.equal(wide(example), quantized(example))
