"""Scales per input channel, compensated rounding, sensitivity and individual bit widths of layers."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.compression.ranges.activations import is_picture
from ganpress.compression.record import record_compression
from ganpress.compression.rounding.compensation import patch_moments, round_compensated
from ganpress.compression.rounding.layer_rounding import round_layers
from ganpress.compression.rounding.weight_codes import code_book
from ganpress.compression.widths.sensitivity import LayerSensitivity, choose_bits, scan_layers
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from models.builders import Blueprint
from models.quantized_geometry import Geometry
from models.quantized_network import float_layers


class Uneven(nn.Module):
    """Channels of very different reach, read by a padded, a bordered and a grouped layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5)
        self.padded = nn.Conv2d(8, 8, 3, padding=1)
        self.each = nn.Conv2d(8, 8, 3, groups=8)
        self.norm = nn.InstanceNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 6, 3, 2, 1, 1)
        self.head = nn.Conv2d(6, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        x = torch.relu(self.stem(functional.pad(x, (2, 2, 2, 2), "reflect")))
        x = self.padded(x)
        x = torch.relu(self.norm(self.each(functional.pad(x, (1, 1, 1, 1), "reflect"))))
        return torch.tanh(self.head(self.up(x)))


@pytest.fixture
def uneven():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Uneven().eval()
        with torch.no_grad():
            reach = torch.logspace(-0.8, 0.8, 8)
            model.stem.weight.mul_(reach[:, None, None, None])
            model.padded.weight.div_(reach[None, :, None, None])
        return model


def pictures(count, seed=0):
    coarse = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return (functional.interpolate(coarse, size=24, mode="bilinear") * 255).round() / 127.5 - 1


def test_scales_of_input_channels_bring_uneven_channels_nearer(uneven):
    held_out = pictures(4, 1)
    snr = [
        compare_outputs(uneven, quantize(uneven, pictures(8), QuantizationConfig(8, 8, channel_inputs=each)), held_out)
        for each in (False, True)
    ]
    assert snr[1].snr_db > snr[0].snr_db + 6


@pytest.mark.parametrize("symmetric", [False, True])
def test_runtime_gives_the_simulations_images(uneven, tmp_path, symmetric):
    config = QuantizationConfig(8, 8, channel_inputs=True, compensated=True, symmetric=symmetric)
    quantized = quantize(uneven, pictures(4), config)
    export_onnx(quantized, tmp_path / "g.onnx", pictures(2))
    found = compare_outputs(quantized, OnnxGenerator(tmp_path / "g.onnx", threads=1), pictures(3, 1))
    assert found.max_abs_error <= quantized.output_step


def test_pictures_are_codes_already(uneven):
    quantized = quantize(uneven, pictures(2), QuantizationConfig(8, 8, channel_inputs=True))
    source = quantized.quantized_layer("stem").source
    every = torch.arange(256) / 127.5 - 1
    x = every.reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    torch.testing.assert_close(source.decode(source.encode(x)), x, rtol=0, atol=1e-6)
    assert is_picture(x)
    assert not is_picture(x + 0.003)


def test_a_layers_integers_are_its_reals(uneven):
    """The kernel's result against the convolution of the reals that codes of input and weights stand for."""
    quantized = quantize(uneven, pictures(4), QuantizationConfig(8, 8, channel_inputs=True))
    x = torch.rand(2, 8, 9, 9, generator=torch.Generator().manual_seed(5)) * 3
    layer, config = quantized.quantized_layer("padded"), QuantizationConfig(8, 8, channel_inputs=True)
    prepared = prepare(uneven, pictures(4))
    assert round_layers(prepared, config).keys() == set(quantized.layers)
    real = layer.source.decode(layer.source.encode(x))
    wanted = layer.geometry.convolve(real, layer.real_weight(), layer.bias)
    low, high = layer.target.decode(torch.zeros(8, 1, 1)), layer.target.decode(torch.full((8, 1, 1), 255.0))
    step = layer.target.scale[:, None, None]
    assert ((layer(x) - wanted.clamp(low, high)).abs() <= 0.51 * step).all()


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("groups", [1, 4])
def test_compensated_rounding_has_less_output_error(bits, groups):
    random = torch.Generator().manual_seed(0)
    x = functional.interpolate(torch.randn(4, 4, 5, 5, generator=random), size=20, mode="bicubic")
    weight = torch.randn(8, 4 // groups, 3, 3, generator=random)
    geometry = Geometry((3, 3), groups=groups)
    book = code_book(weight, bits)
    codes = round_compensated(weight, book, patch_moments(x, geometry, centred=False))
    nearest, scale = book.round(weight), book.scale
    wanted = geometry.convolve(x, weight, None)
    errors = [
        float((geometry.convolve(x, one * scale[:, None, None, None], None) - wanted).square().mean())
        for one in (nearest, codes)
    ]
    assert errors[1] < 0.7 * errors[0]
    assert codes.abs().max() <= 2 ** (bits - 1) - 1


def test_inputs_without_correlation_round_to_the_nearest():
    weight = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    book = code_book(weight, 4)
    codes = round_compensated(weight, book, torch.eye(12).double()[None])
    assert torch.equal(codes, book.round(weight).to(codes.dtype))


def test_centred_moments_do_not_see_what_a_normalisation_takes_off():
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    geometry = Geometry((3, 3))
    shifted = patch_moments(x + 5, geometry, centred=True)
    torch.testing.assert_close(shifted, patch_moments(x, geometry, centred=True), rtol=1e-4, atol=1e-3)


def test_scan_finds_the_layer_that_harms(uneven):
    prepared = prepare(uneven, pictures(4))
    layers = round_layers(prepared, QuantizationConfig(8, 8, channel_inputs=True))
    layers["each"] = round_layers(prepared, QuantizationConfig(2, 8, channel_inputs=True))["each"]
    before = prepared.plain(pictures(2))
    scan = scan_layers(prepared.plain, layers, pictures(2))
    assert max(scan, key=lambda one: one.noise).layer == "each"
    assert torch.equal(prepared.plain(pictures(2)), before)
    macs = {one.layer: one.macs for one in scan}
    assert macs["stem"] == 8 * 3 * 25 * 24 * 24
    assert macs["up"] == 8 * 4 * 6 * 48 * 48  # as the plain convolution that runs: 2 x 2 taps for each pixel


def test_layers_stay_in_floats_until_the_goal_is_reached(uneven):
    goal = 36.0
    config = QuantizationConfig(8, 8, channel_inputs=True, min_snr_db=goal)
    quantized = quantize(uneven, pictures(4), config)
    assert compare_outputs(uneven, quantized, pictures(4)).snr_db >= goal
    record = record_compression(quantized, "teacher", "", 0.0, {"min_snr_db": goal, "channel_inputs": True})
    assert set(record.float_layers) == set(float_layers(quantized))
    assert record.activation_scheme == "asymmetric, inputs per channel, outputs per channel, least squared error"
    with pytest.raises(ConfigError, match=r"no layer can be rounded within 200\.0 dB; lower min_snr_db"):
        quantize(uneven, pictures(2), QuantizationConfig(8, 8, min_snr_db=200.0))


def test_bits_are_spent_where_they_help_most():
    noise = {"a": {2: 1.0, 3: 0.25, 4: 0.06}, "b": {2: 0.1, 3: 0.02, 4: 0.005}, "c": {2: 0.4, 3: 0.1, 4: 0.02}}
    weights = {"a": 10, "b": 40, "c": 20}
    costs = {name: {bits: bits * weights[name] for bits in widths} for name, widths in noise.items()}
    for budget in (140, 180, 200, 280):
        found = choose_bits(noise, costs, budget)
        assert sum(found[name] * weights[name] for name in found) <= budget
        best = min(
            sum(noise[name][bits] for name, bits in zip(noise, choice, strict=True))
            for choice in itertools.product((2, 3, 4), repeat=3)
            if sum(bits * weights[name] for name, bits in zip(noise, choice, strict=True)) <= budget
        )
        assert sum(noise[name][bits] for name, bits in found.items()) <= 1.0001 * best
    assert LayerSensitivity("a", 4, 2.0).harm == 0.5


def test_mixed_widths_are_better_than_one_at_equal_bits(uneven):
    uniform = quantize(uneven, pictures(4), QuantizationConfig(4, None))
    mixed = quantize(uneven, pictures(4), QuantizationConfig(8, None, mean_weight_bits=4))
    layers = [mixed.quantized_layer(name) for name in mixed.layers]
    assert sum(one.weight.numel() * one.weight_bits for one in layers) <= 4 * sum(one.weight.numel() for one in layers)
    assert all(len(channel.unique()) <= 2**one.weight_bits for one in layers for channel in one.weight)
    held_out = pictures(4, 1)
    assert compare_outputs(uneven, mixed, held_out).snr_db > compare_outputs(uneven, uniform, held_out).snr_db
    blueprint = quantized_blueprint(mixed, Blueprint("unused", {}))
    assert blueprint.arguments["layer_bits"] == mixed.layer_bits
    assert record_compression(mixed, "teacher", "", 0.0).layer_bits == mixed.layer_bits


@pytest.mark.parametrize("method", ["none", "mse", "aciq", "kl", "percentile"])
def test_every_way_of_clipping_serves_both_forms(uneven, trained_like, method):
    config = QuantizationConfig(6, 6, clipping=method, activation_clipping=method, percentile=99.9)
    by_channel = replace(config, channel_inputs=True)
    assert compare_outputs(uneven, quantize(uneven, pictures(4), by_channel), pictures(4)).snr_db > 8
    model, z = trained_like("4", 16, 1), torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    assert compare_outputs(model, quantize(model, z, config), z).snr_db > 3


def test_one_scale_for_all_channels_is_one(uneven):
    quantized = quantize(uneven, pictures(2), QuantizationConfig(8, 8, per_channel=False))
    for name in quantized.layers:
        layer = quantized.quantized_layer(name)
        assert len(layer.weight_scale.unique()) == len(layer.target.scale.unique()) == 1


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="mean_weight_bits must be 2 to weight_bits, which is 4, found 5"):
        QuantizationConfig(4, 8, mean_weight_bits=5)
    with pytest.raises(ConfigError, match="clipping must be one of none, mse, aciq, kl, percentile, found 'best'"):
        QuantizationConfig(4, 8, clipping="best")
    with pytest.raises(ConfigError, match="rounded compensated or adaptive, not both; leave one out"):
        QuantizationConfig(4, 8, compensated=True, adaptive=True)
    with pytest.raises(ConfigError, match="split_share must be at least 0 and below 1, found 1"):
        QuantizationConfig(4, 8, split_share=1)
    with pytest.raises(ConfigError, match="asymmetric_weights, split_share need weight_bits, which is null"):
        QuantizationConfig(None, 8, asymmetric_weights=True, split_share=0.1)


def test_silent_input_channels_take_no_precision_from_the_others(trained_like):
    """A channel that a ReLU keeps at zero has no step of its own; its weights must not set that of all others."""
    z, held_out = (torch.randn(64, 100, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    model, snr = trained_like("4", 16, 1), []
    for bias in (float(model.blocks[0].bias[2]), -100.0):
        with torch.no_grad():
            model.blocks[0].bias[2] = bias
        quantized = quantize(model, z, QuantizationConfig(8, 8, channel_inputs=True))
        snr.append(compare_outputs(model, quantized, held_out).snr_db)
    assert snr[1] > snr[0] - 1
