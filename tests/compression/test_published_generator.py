"""The published horse2zebra generator: 41 instance normalisations, trained weights, real photographs."""

import numpy as np
import pytest
import torch
from PIL import Image

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.imported.weight_keys import import_generator
from ganpress.metrics.fidelity import compare_outputs
from models.quantized_network import float_layers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def horse2zebra(shared_data):
    """The generator, and three photographs (3, 3, 128, 128)."""
    path = shared_data / "generators" / "gan_compression_horse2zebra.pth"
    if not path.is_file():
        pytest.skip(f"no published weights at {path}")
    pixels = [np.array(Image.open(path.with_name(f"horse_{index}.png")).convert("RGB")) for index in range(3)]
    photographs = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return import_generator(path, "gan_compression")[0], photographs[:, :, 48:176, 48:176].contiguous()


def test_scales_of_input_channels_and_compensation_bring_it_nearer(horse2zebra):
    model, photographs = horse2zebra
    seen = torch.cat([photographs[:2], photographs[:2].flip(-1)])
    plain, careful = (
        compare_outputs(model, quantize(model, seen, config), photographs[:1]).snr_db
        for config in (QuantizationConfig(8, 8), QuantizationConfig(8, 8, channel_inputs=True, compensated=True))
    )
    assert plain > 21  # measured: 24.6
    assert careful > plain + 2  # measured: 28.5


def test_compensated_weights_of_four_bits_are_nearer(horse2zebra):
    model, photographs = horse2zebra
    nearest, compensated = (
        compare_outputs(model, quantize(model, photographs[:2], config), photographs[2:]).snr_db
        for config in (QuantizationConfig(4, None), QuantizationConfig(4, None, compensated=True))
    )
    assert compensated > nearest + 2  # measured: 4.8 and 10


def test_thirty_decibels_need_some_layers_in_floats(horse2zebra):
    model, photographs = horse2zebra
    config = QuantizationConfig(8, 8, channel_inputs=True, compensated=True, min_snr_db=30.0)
    quantized = quantize(model, photographs[:2], config)
    assert compare_outputs(model, quantized, photographs[:2]).snr_db >= 30
    assert {"up1.0", "up2.0"} <= {name.removeprefix("network.") for name in float_layers(quantized)}
    assert len(quantized.layers) > 15
