"""The cheapest mix of widths that keeps a PSNR."""

import math

import pytest
import torch

from ganpress.compression.algorithms.linear_quantization import LinearQuantization
from ganpress.compression.network_quantization import hold_out
from ganpress.compression.packed.packing import packed
from ganpress.compression.psnr_target import quantize_to_psnr
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.config.base import parse
from ganpress.errors import ConfigError
from models.builders import generator_blueprint
from models.family import Canvas
from models.quantized_network import float_layers

BLUEPRINT = generator_blueprint("wdcgan:4", Canvas(1, 16, 16))
INPUTS = torch.randn(64, 100, generator=torch.Generator().manual_seed(1))
UNSEEN = hold_out(INPUTS)[1]


@pytest.fixture(scope="module")
def model(trained_like):
    return trained_like("4", 16, 1)


def psnr_of(model, quantized):
    with torch.no_grad():
        return -10 * math.log10(float((model(UNSEEN) - quantized(UNSEEN)).square().mean()) / 4)


def size_of(quantized):
    return len(packed(quantized, quantized_blueprint(quantized, BLUEPRINT)))


def test_the_goal_is_kept_by_fewer_bytes_the_lower_it_is(model):
    config = QuantizationConfig(8, None)
    found = {goal: quantize_to_psnr(model, INPUTS, config, goal) for goal in (25.0, 35.0)}
    for goal, quantized in found.items():
        assert goal <= psnr_of(model, quantized) < goal + 6  # a bit more everywhere is 6 dB
    assert size_of(found[25.0]) < size_of(found[35.0]) < size_of(quantize(model, INPUTS, config))


def test_layers_stay_in_floats_where_the_widest_are_not_enough(model):
    config = QuantizationConfig(4, 4)
    goal = psnr_of(model, quantize(model, INPUTS, config)) + 2
    quantized = quantize_to_psnr(model, INPUTS, config, goal)
    assert psnr_of(model, quantized) >= goal
    assert float_layers(quantized)
    with pytest.raises(
        ConfigError, match="no layer can be rounded within target_psnr 200 dB; lower it or take more bits"
    ):
        quantize_to_psnr(model, INPUTS, config, 200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation_bits": 8, "target_psnr": 30}, "target_psnr needs weight_bits, the largest width"),
        ({"weight_bits": 8, "target_psnr": 30, "max_bytes": 9000}, "max_bytes and target_psnr each choose how layers"),
        ({"weight_bits": 8, "target_psnr": 30, "min_snr_db": 20}, "min_snr_db and target_psnr each choose how layers"),
    ],
)
def test_goals_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        parse(options, LinearQuantization, "compress.items.x")


@pytest.mark.parametrize("config", [QuantizationConfig(None, 8), QuantizationConfig(8, None, mean_weight_bits=4)])
def test_the_library_refuses_them_too(model, config):
    with pytest.raises(ConfigError, match="target_psnr chooses widths itself: it needs weight_bits"):
        quantize_to_psnr(model, INPUTS, config, 30)
