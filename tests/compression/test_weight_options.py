"""Asymmetric codes, channel splitting inside networks, adaptive rounding, corrected biases."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.compression.packed.packing import check_levels
from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.compression.record import record_compression
from ganpress.compression.rounding.adaptive_rounding import round_adaptive
from ganpress.compression.rounding.compensation import patch_moments, round_compensated
from ganpress.compression.rounding.layer_rounding import round_layers
from ganpress.compression.rounding.weight_codes import code_book
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.performance.generator_cost import generator_cost
from models.builders import Blueprint, generator_blueprint, quantized_generator
from models.family import Canvas
from models.quantized_geometry import Geometry
from models.quantized_network import QuantizedNetwork

BITS = range(2, 9)


class Small(nn.Module):
    """A padded convolution, a linear layer in between, and a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 10, 3, padding=1)
        self.mixed = nn.Linear(10, 10)
        self.each = nn.Conv2d(10, 10, 3, padding=1, groups=5)
        self.up = nn.ConvTranspose2d(10, 3, 4, 2, 1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.mixed(x.movedim(1, -1))).movedim(-1, 1)
        return torch.tanh(self.up(torch.relu(self.each(x))))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def small():
    model, random = Small().eval(), seeded(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.3)
        model.first.weight[:, 1] *= 6  # the outliers
        model.mixed.weight[:, 4] *= 5
    return model


def pictures(count, seed=1):
    return functional.interpolate(torch.rand(count, 3, 4, 4, generator=seeded(seed)), size=12, mode="bilinear") * 2 - 1


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("clipping", ["none", "mse", "percentile"])
def test_asymmetric_codes_hold_their_levels_and_zero(bits, clipping):
    weight = torch.randn(12, 6, 3, 3, generator=seeded(2)).exp() - 0.9  # skewed to above
    weight[3] = 0
    weight[5] = -weight[5].abs()
    book = code_book(weight, bits, clipping, asymmetric=True)
    codes = book.round(weight)
    assert ((book.highest - book.lowest) <= 2**bits - 1).all()
    assert ((book.lowest <= 0) & (book.highest >= 0)).all()
    assert codes.min() >= -128
    assert codes.max() <= 127
    assert all(len(channel.unique()) <= 2**bits for channel in codes)
    if clipping == "none":
        assert (
            (codes * book.scale[:, None, None, None] - weight).abs() <= 0.51 * book.scale[:, None, None, None]
        ).all()


@pytest.mark.parametrize("bits", [2, 4, 6])
def test_asymmetric_codes_are_nearer_to_lopsided_weights(bits):
    weight = torch.rand(8, 40, generator=seeded(3)) + 0.1
    errors = []
    for asymmetric in (False, True):
        book = code_book(weight, bits, asymmetric=asymmetric)
        errors.append(float((book.round(weight) * book.scale[:, None] - weight).square().mean()))
    assert errors[1] < 0.35 * errors[0]  # the step is half as wide


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "each"), [((4, None), False), ((8, 8), True)])
def test_every_option_at_once_runs_in_the_runtime(small, tmp_path, bits, each):
    options = {"asymmetric_weights": True, "compensated": True, "split_share": 0.2, "corrected_bias": True}
    config = QuantizationConfig(*bits, channel_inputs=each, **options)
    quantized = quantize(small, pictures(8), config)
    check_levels(quantized)
    assert quantized.repeated == {"first": 1, "mixed": 2, "up": 2}
    export_onnx(quantized, tmp_path / "g.onnx", pictures(2))
    found = compare_outputs(quantized, OnnxGenerator(tmp_path / "g.onnx", threads=1), pictures(3, 4))
    assert found.max_abs_error <= max(quantized.output_step, 1e-5)
    record = record_compression(quantized, "teacher", "", 0.0, {**options, "channel_inputs": each})
    assert record.weight_scheme == (
        "asymmetric per output channel, smallest to largest, compensated, outliers split, biases corrected"
    )


def test_splitting_is_exact_before_rounding_and_nearer_after(small):
    """Eight bits of a layer with split outliers, against whole ones: the same layer, a smaller step."""
    prepared = prepare(small, pictures(4))
    whole, split = (
        round_layers(prepared, QuantizationConfig(8, None, split_share=share))["first"] for share in (0.0, 0.4)
    )
    assert split.channels.tolist()[:4] == [0, 1, 2, 1]
    assert (split.weight_scale < 0.7 * whole.weight_scale).all()
    wanted = prepared.plain.quantized_layer("first")(pictures(4))
    errors = [float((layer(pictures(4)) - wanted).square().mean()) for layer in (whole, split)]
    assert errors[1] < errors[0]


def test_split_networks_are_rebuilt_and_cost_more(small):
    quantized = quantize(small, pictures(4), QuantizationConfig(6, None, split_share=0.2))
    plain = quantize(small, pictures(4), QuantizationConfig(6, None))
    arguments = quantized_blueprint(quantized, Blueprint("unused", {})).arguments
    assert arguments["repeated"] == {"first": 1, "mixed": 2, "up": 2}
    rebuilt = QuantizedNetwork(Small(), quantized.layers, (), 6, None, repeated=arguments["repeated"])
    rebuilt.load_state_dict(quantized.state_dict())
    assert torch.equal(rebuilt(pictures(2)), quantized(pictures(2)))
    extra = 12 * 12 * (10 * 9 + 2 * 10)
    difference = generator_cost(quantized, pictures(1)).macs_exact - generator_cost(plain, pictures(1)).macs_exact
    up = quantized.quantized_layer("up")
    assert difference == extra + 2 * up.weight[:, 0].numel() * 13 * 13


def test_splitted_families_load_from_their_blueprint():
    blueprint = generator_blueprint("wdcgan:3", Canvas(1, 16, 16))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = blueprint.build().eval()
    z = torch.randn(8, 100, generator=seeded(5))
    quantized = quantize(model, z, QuantizationConfig(5, None, split_share=0.1))
    made = quantized_blueprint(quantized, blueprint)
    rebuilt = quantized_generator(**made.arguments)
    rebuilt.load_state_dict(quantized.state_dict())
    assert torch.equal(rebuilt(z), quantized(z))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("groups", [1, 2])
def test_adaptive_rounding_has_less_output_error(bits, groups):
    x = functional.interpolate(torch.randn(4, 4, 5, 5, generator=seeded(6)), size=20, mode="bicubic")
    weight = torch.randn(6, 4 // groups, 3, 3, generator=seeded(7))
    geometry, book = Geometry((3, 3), groups=groups), code_book(weight, bits)
    moments = patch_moments(x, geometry, centred=False)
    codes = {
        "nearest": book.round(weight),
        "adaptive": round_adaptive(weight, book, moments),
        "compensated": round_compensated(weight, book, moments),
    }
    wanted = geometry.convolve(x, weight, None)
    errors = {
        name: float((geometry.convolve(x, one * book.scale[:, None, None, None], None) - wanted).square().mean())
        for name, one in codes.items()
    }
    assert errors["adaptive"] < 0.8 * errors["nearest"]
    steps = weight / book.scale[:, None, None, None]
    assert ((codes["adaptive"] - steps).abs() < 1).all()  # each up or down
    assert codes["adaptive"].dtype == torch.int8


def test_adaptive_rounding_comes_near_the_best_of_all():
    """Against all 2^K ways to round one output up or down, over eight layers."""
    sums = {"best": 0.0, "adaptive": 0.0, "nearest": 0.0}
    for seed in range(8):
        random = seeded(8 + seed)
        root = torch.randn(8, 4, generator=random).double()
        moments = (root @ root.T + 0.1 * torch.eye(8).double())[None]
        weight = torch.randn(1, 8, 1, 1, generator=random)
        book = code_book(weight, 4)
        below = torch.floor(weight.reshape(-1) / book.scale)
        every = [(below + torch.tensor(ups)).reshape(1, -1) for ups in itertools.product((0.0, 1.0), repeat=8)]
        sums["best"] += min(_cost(book.clamp(codes), weight, book, moments) for codes in every)
        sums["adaptive"] += _cost(round_adaptive(weight, book, moments), weight, book, moments)
        sums["nearest"] += _cost(book.round(weight), weight, book, moments)
    assert sums["adaptive"] <= 1.5 * sums["best"]
    assert sums["best"] < 0.5 * sums["nearest"]


def _cost(codes, weight, book, moments):
    error = (codes.reshape(-1) * book.scale - weight.reshape(-1)).double()
    return float(error @ moments[0] @ error)


def test_corrected_biases_bring_mean_outputs_together(small):
    prepared, inputs = prepare(small, pictures(16)), pictures(16)
    shifts = []
    for corrected in (False, True):
        layers = round_layers(prepared, QuantizationConfig(3, None, corrected_bias=corrected))
        wanted, found = prepared.plain.quantized_layer("first")(inputs), layers["first"](inputs)
        shifts.append(float((wanted - found).mean((0, 2, 3)).abs().max()))
    assert shifts[1] < 0.01 * shifts[0]


def test_more_levels_than_bits_are_found(small):
    quantized = quantize(small, pictures(2), QuantizationConfig(2, None))
    check_levels(quantized)
    quantized.quantized_layer("each").weight[3].view(-1)[:5] = torch.tensor([-2, -1, 0, 1, 2], dtype=torch.int8)
    with pytest.raises(ConfigError, match=r"'network.each.weight' is to have 2 bits, but channel 3 has 5 different"):
        check_levels(quantized)
