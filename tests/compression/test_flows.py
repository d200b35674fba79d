"""Quantized values that pass from layer to layer: which layers can share them, and that they do."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.compression.preparation.sites import find_sites
from ganpress.compression.quantization import QuantizationConfig, quantize


class Flows(nn.Module):
    """Every way for codes from layer to layer, and some that are none."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.shuffled = nn.Conv2d(8, 16, 3, padding=1)
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.both = nn.Conv2d(8, 4, 3, padding=1)
        self.kept = nn.Conv2d(4, 4, 1)
        self.leaky = nn.Conv2d(4, 4, 1)
        self.bordered = nn.Conv2d(4, 4, 1)
        self.head = nn.Conv2d(4, 3, 3)

    def forward(self, x):
        x = functional.interpolate(torch.relu(self.norm(self.stem(x))), scale_factor=2.0, mode="nearest")
        x = functional.pixel_shuffle(torch.relu(self.shuffled(functional.pad(x, (1, 1, 1, 1), "reflect"))), 2)
        x = self.both(functional.pad(torch.cat([self.left(x), self.right(x)], 1), (0, 1, 1, 0)))
        x = x + self.kept(x)
        x = functional.leaky_relu(self.leaky(x), 0.2)
        return torch.tanh(self.head(functional.pad(self.bordered(x), (1, 1, 1, 1), value=0.5)))


READERS = {
    "stem": ("shuffled",),
    "shuffled": ("left", "right"),
    "left": ("both",),
    "right": ("both",),
    "both": (),  # a sum reads it, too
    "kept": (),
    "leaky": (),  # a slope changes values
    "bordered": (),  # a border of 0.5
    "head": (),
}


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Flows()
        model(pictures(8))
        return model.eval()


def pictures(count, seed=0):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_layers_that_alone_read_another_are_found(model):
    assert {site.name: site.readers for site in find_sites(model, pictures(1))} == READERS


def codes(quantizer):
    return set(zip(quantizer.scale.reshape(-1).tolist(), quantizer.zero_point.reshape(-1).tolist(), strict=True))


@pytest.mark.parametrize("clipping", ["none", "mse"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_layer_puts_out_the_codes_that_the_next_one_reads(model, clipping, symmetric):
    config = QuantizationConfig(8, 8, activation_clipping=clipping, symmetric=symmetric)
    quantized = quantize(model, pictures(8), config)
    for name, readers in READERS.items():
        layer = quantized.quantized_layer(name)
        for reader in readers:
            assert codes(layer.target) == codes(quantized.quantized_layer(reader).source)
    assert codes(quantized.quantized_layer("both").target) != codes(quantized.quantized_layer("leaky").source)


def test_codes_with_a_scale_for_each_input_channel_stay_apart(model):
    quantized = quantize(model, pictures(8), QuantizationConfig(8, 8, channel_inputs=True))
    assert len(codes(quantized.quantized_layer("shuffled").source)) == 8
    assert len(codes(quantized.quantized_layer("stem").target)) == 8


def test_layers_that_read_different_values_stay_apart(model):
    """One reads all of a value, the other its positive half: there is no code for both."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.whole, self.positive = (nn.Conv2d(3, 3, 1) for _ in range(3))

        def forward(self, x):
            x = self.first(x)
            return self.whole(x) + self.positive(torch.relu(x))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        quantized = quantize(Two().eval(), pictures(8), QuantizationConfig(8, 8))
    sources = [codes(quantized.quantized_layer(name).source) for name in ("whole", "positive")]
    assert sources[0] != sources[1]
    assert codes(quantized.quantized_layer("first").target) != sources[1]


def test_a_normalised_channel_has_a_scale_of_its_own():
    normalised = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.Conv2d(8, 8, 3), nn.PReLU()).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        quantized = quantize(normalised, pictures(8), QuantizationConfig(8, 8))
    assert [len(quantized.quantized_layer(name).target.scale.unique()) for name in ("0", "2")] == [8, 1]
