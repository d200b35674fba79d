"""Post-training quantization: codes, ranges, and the integer simulation."""

import hashlib
import itertools
import math

import pytest
import torch

from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.pruning.magnitude_pruning import measure_sparsity, prune_
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.compression.ranges.activations import SATURATION
from ganpress.compression.ranges.histograms import Ranges, affine
from ganpress.compression.rounding.weight_codes import code_book
from ganpress.data.prepared.generator_inputs import inputs_digest
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import load_model, save_model
from ganpress.metrics.fidelity import batches_of, compare_outputs
from models.builders import Blueprint

BASE = Blueprint("wdcgan_generator", {"spec": "4", "size": 16, "channels": 3})
GENERATORS = [("6", 16, 1), ("3_5_2", 32, 3), ("4", 64, 1)]


def latents(images, seed=0):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", range(2, 9))
def test_each_channel_has_at_most_two_to_the_bits_levels(trained_like, bits):
    quantized = quantize(trained_like("6", 16, 3), latents(64), QuantizationConfig(bits, bits))
    for layer in quantized.quantized_layers():
        assert layer.weight.dtype == torch.int8
        assert all(len(channel.unique()) <= 2**bits for channel in layer.weight)
        assert all(len(channel.unique()) <= 2**bits for channel in layer.real_weight())
        assert layer.weight.abs().max() == 2 ** (bits - 1) - 1
    quantizer = quantized.quantized_layers()[0].source
    codes = quantizer.encode(torch.linspace(-9, 9, 999))
    assert len(codes.unique()) <= 2**bits
    assert (codes.min(), codes.max()) == (0, 2**bits - 1)


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_weight_codes_are_the_nearest(bits):
    weight = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    book = code_book(weight, bits)
    codes, scale = book.round(weight), book.scale
    error = (codes * scale[:, None, None, None] - weight).abs().amax((1, 2, 3))
    assert torch.all(error <= scale / 2 * (1 + 1e-5))
    assert not codes[2].any()
    assert scale[2] > 0


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.0), (-1.0, 2.0), (-5.0, 0.0), (0.0, 0.0), (-1e-8, 40.0)])
@pytest.mark.parametrize("bits", [2, 8])
def test_affine_codes_cover_the_range_and_hold_zero(low, high, bits):
    scale, zero_point = (float(one) for one in affine(Ranges(torch.tensor([low]), torch.tensor([high])), bits))
    assert 0 <= zero_point <= 2**bits - 1
    assert scale > 0
    assert -zero_point * scale == pytest.approx(low, abs=scale / 2 * (1 + 1e-5) if high > low else 0)
    if low == 0:
        assert zero_point == 0


@pytest.mark.parametrize(("spec", "size", "channels"), GENERATORS)
def test_more_bits_come_nearer_and_eight_are_near(trained_like, spec, size, channels):
    model, z, held_out = trained_like(spec, size, channels), latents(128), latents(32, seed=1)
    snr = [
        compare_outputs(model, quantize(model, z, QuantizationConfig(bits, bits)), held_out).snr_db
        for bits in (3, 5, 8)
    ]
    assert snr == sorted(snr)
    assert snr[-1] > 20


def test_integers_pass_from_layer_to_layer(trained_like):
    """Each layer puts out the codes that the next one reads, so that values are rounded once between two layers."""
    quantized = quantize(trained_like("4", 16, 3), latents(64), QuantizationConfig(8, 8))
    layers = quantized.quantized_layers()
    assert len(layers) == 3
    for layer, reader in itertools.pairwise(layers):
        assert torch.equal(layer.target.scale, reader.source.scale.expand_as(layer.target.scale))
        assert not reader.source.zero_point  # what the ReLU takes away has no codes
        assert not layer.target.zero_point.any()
    assert layers[0].geometry.kernel == (1, 1)


def test_integers_compute_what_their_reals_stand_for(trained_like):
    """Without rounding of activations the codes' reals are the whole difference to the float generator."""
    model, z = trained_like("4", 16, 1), latents(64)
    quantized, plain = quantize(model, z, QuantizationConfig(5, None)), prepare(model, z).plain
    with torch.no_grad():
        for own, layer in zip(plain.quantized_layers(), quantized.quantized_layers(), strict=True):
            own.weight.copy_(layer.real_weight())
        torch.testing.assert_close(quantized(latents(4, 1)), plain(latents(4, 1)), rtol=0, atol=1e-6)


def test_integer_path_equals_exact_arithmetic(trained_like):
    """The simulation against a float64 re-computation of the definition: dequantize, convolve, round."""
    layer = quantize(trained_like("6", 16, 1), latents(64), QuantizationConfig(8, 8)).quantized_layers()[0]
    x = latents(16, 1)[:, :, None, None]
    scale = layer.target.scale[:, None, None]
    found = layer(x) / scale
    real = torch.nn.functional.conv2d(
        layer.source.decode(layer.source.encode(x)).double(), layer.real_weight().double(), layer.bias.double()
    )
    steps = layer.geometry.rearrange(real.relu()) / scale.double()
    assert (found - steps.clamp(0, 255)).abs().max() <= 0.5 + 0.05  # half a step, and the bias's own rounding
    torch.testing.assert_close(found, found.round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, None), (None, 6), (2, 3)])
def test_quantized_generator_survives_a_model_file(trained_like, tmp_path, weight_bits, activation_bits):
    config = QuantizationConfig(weight_bits, activation_bits)
    quantized = quantize(trained_like("4", 16, 3), latents(64), config, seed=7)
    save_model(tmp_path / "generator.safetensors", quantized, quantized_blueprint(quantized, BASE))
    loaded, blueprint = load_model(tmp_path / "generator.safetensors", "quantized")
    assert torch.equal(loaded(latents(3)), quantized(latents(3)))
    assert blueprint == quantized_blueprint(loaded, BASE)
    assert (loaded.calibration.count, loaded.calibration.seed) == (64, 7)
    assert loaded.calibration.sha256 == hashlib.sha256(latents(64).numpy().tobytes()).hexdigest()


def test_eight_bit_model_file_is_a_quarter(trained_like, tmp_path):
    model = trained_like("16", 64, 1)
    quantized = quantize(model, latents(16), QuantizationConfig(8, 8))
    save_model(tmp_path / "generator.safetensors", quantized, quantized_blueprint(quantized, BASE))
    float_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert (tmp_path / "generator.safetensors").stat().st_size < float_bytes / 3.6


def test_pruned_weights_stay_zero(trained_like):
    model = trained_like("4", 16, 1)
    prune_(model, 0.4)
    quantized = quantize(model, latents(64), QuantizationConfig(8, 8))
    for pruned, layer in zip(measure_sparsity(model), measure_sparsity(quantized), strict=True):
        assert layer.weights == pruned.weights
        assert layer.zeros >= pruned.zeros


def test_result_does_not_depend_on_the_batch(trained_like):
    quantized = quantize(trained_like("4", 16, 1), latents(64), QuantizationConfig(8, 8))
    together = quantized(latents(5))
    assert all(torch.equal(quantized(z[None])[0], image) for z, image in zip(latents(5), together, strict=True))


def test_calibration_sees_every_latent(trained_like):
    z = latents(200)
    assert len(batches_of(z)) > 1
    z[-1, 3] = 11
    config = QuantizationConfig(8, 8, activation_clipping="none")
    low, high = quantize(trained_like("4", 16, 1), z, config).activation_ranges[0]
    assert (low, high) == pytest.approx((float(z.min()), 11), abs=(high - low) / 255)


def test_head_needs_no_codes_where_tanh_rounds_to_the_last_pixel_value(trained_like):
    model = trained_like("4", 16, 1)
    with torch.no_grad():
        model.head.weight.mul_(100)
    low, high = quantize(model, latents(64), QuantizationConfig(8, 8, activation_clipping="none")).activation_ranges[-1]
    assert (low, high) == pytest.approx((-SATURATION, SATURATION), abs=(high - low) / 255)
    assert round((math.tanh(SATURATION * 1.001) + 1) * 127.5) == 255
    assert round((math.tanh(SATURATION * 0.999) + 1) * 127.5) == 254


def test_inputs_digest_tells_latents_apart():
    assert inputs_digest(latents(4)) == inputs_digest(latents(4).clone())
    assert inputs_digest(latents(4)) != inputs_digest(latents(4, seed=1))


@pytest.mark.parametrize("bits", [1, 9, 0, -8])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ConfigError, match=f"weight_bits must be 2 to 8, or null for floats, found {bits}"):
        QuantizationConfig(bits, 8)
    with pytest.raises(ConfigError, match=f"activation_bits must be 2 to 8, or null for floats, found {bits}"):
        QuantizationConfig(8, bits)


def test_no_bits_at_all_are_refused():
    with pytest.raises(ConfigError, match="needs weight_bits, activation_bits or both; both are null"):
        QuantizationConfig(None, None)


@pytest.mark.parametrize("shape", [(0, 100), (4, 99), (4, 100, 1)])
@pytest.mark.usefixtures("unchecked_shapes")
def test_calibration_latents_of_another_shape_are_refused(trained_like, shape):
    with pytest.raises(ConfigError, match="calibration inputs"):
        quantize(trained_like("2", 16, 1), torch.zeros(shape), QuantizationConfig(8, 8))


def test_activations_that_are_not_finite_are_refused(trained_like):
    with pytest.raises(ConfigError, match="not finite"):
        quantize(trained_like("2", 16, 1), torch.full((2, 100), math.nan), QuantizationConfig(8, 8))


def test_a_quantized_generator_is_not_quantized_again(trained_like):
    quantized = quantize(trained_like("2", 16, 1), latents(8), QuantizationConfig(8, 8))
    with pytest.raises(ConfigError, match="is quantized already"):
        quantize(quantized, latents(8), QuantizationConfig(8, 8))
