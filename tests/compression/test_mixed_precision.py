"""Scans over layers and bits, and widths chosen under a budget of packed bytes."""

import pytest
import torch
from torch import nn

from ganpress.compression.packed.packing import coded_bytes, load_packed, packed, save_packed
from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.compression.record import scan_content
from ganpress.compression.widths.mixed_precision import quantize_within, scan_widths
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from models.builders import generator_blueprint
from models.family import Canvas

BLUEPRINT = generator_blueprint("wdcgan:4", Canvas(1, 16, 16))
CONFIG = QuantizationConfig(8, None)


def latents(count, seed=1):
    return torch.randn(count, 100, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model(trained_like):
    return trained_like("4", 16, 1)


def size_of(quantized):
    return len(packed(quantized, quantized_blueprint(quantized, BLUEPRINT)))


@pytest.mark.parametrize("kind", ["weights", "activations"])
def test_noise_of_each_layer_falls_with_bits(model, kind):
    prepared = prepare(model, latents(32))
    scan = scan_widths(prepared, CONFIG, kind)
    assert scan.noise.keys() == scan.macs.keys() == {site.name for site in prepared.sites}
    for widths in scan.noise.values():
        assert list(widths) == list(range(2, 9))
        assert widths[8] < 0.05 * widths[3]
    for name, sizes in scan.size_bytes.items():
        weights = prepared.plain.quantized_layer(name).weight.numel()
        assert all(size <= weights * bits / 8 + 1 for bits, size in sizes.items())
    content = scan_content(scan_widths(prepared, CONFIG), scan)
    assert set(content[next(iter(content))]) == {"macs", "weights", "activations", "bytes"}


def test_a_budget_of_bytes_is_kept_and_better_than_uniform(model, tmp_path):
    uniform = quantize(model, latents(32), QuantizationConfig(4, None, corrected_bias=True))
    budget = int(1.03 * size_of(uniform))  # widths are written down, which takes bytes as well
    config = QuantizationConfig(8, None, corrected_bias=True)
    mixed = quantize_within(model, BLUEPRINT, latents(32), config, budget)
    assert size_of(mixed) <= budget
    assert len(set(mixed.layer_bits.values())) > 1
    held_out = latents(64, 2)
    assert compare_outputs(model, mixed, held_out).snr_db >= compare_outputs(model, uniform, held_out).snr_db
    save_packed(tmp_path / "g.ganpack", mixed, quantized_blueprint(mixed, BLUEPRINT))
    assert (tmp_path / "g.ganpack").stat().st_size <= budget
    loaded, _ = load_packed(tmp_path / "g.ganpack")
    assert torch.equal(loaded(held_out), mixed(held_out))


def test_budgets_that_cannot_be_kept_are_refused(model):
    with pytest.raises(ConfigError, match=r"max_bytes is 500, but the smallest packed file found has [\d,]+ bytes"):
        quantize_within(model, BLUEPRINT, latents(8), CONFIG, 500)
    for config in (QuantizationConfig(None, 8), QuantizationConfig(8, None, mean_weight_bits=4)):
        with pytest.raises(ConfigError, match="max_bytes chooses widths itself: it needs weight_bits"):
            quantize_within(model, BLUEPRINT, latents(8), config, 10_000)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(0, 100), r"calibration inputs must be \(N, …\) with N >= 1, found \(0, 100\)"),
        (torch.zeros(100), r"calibration inputs must be \(N, …\) with N >= 1, found \(100,\)"),
        (torch.zeros(3, 99), r"calibration inputs \(3, 99\) do not fit WdcganGenerator"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(model, inputs, message):
    with pytest.raises(ConfigError, match=message):
        prepare(model, inputs)


@pytest.mark.parametrize("bits", [1, 9, 0])
def test_widths_out_of_range_are_refused(bits):
    for name, pair in (("weight_bits", (bits, 8)), ("activation_bits", (8, bits))):
        with pytest.raises(ConfigError, match=f"{name} must be 2 to 8, or null for floats, found {bits}"):
            QuantizationConfig(*pair)


def test_entropy_coded_size_is_that_in_the_file():
    codes = nn.functional.pad(torch.randint(-1, 2, (8, 50), dtype=torch.int8), (0, 200))
    assert coded_bytes(codes, 3) < 8 * 250 * 3 / 8
