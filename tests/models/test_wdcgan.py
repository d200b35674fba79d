import csv

import pytest
import torch

from models.builders import Blueprint
from models.wdcgan import WdcganSpec, hidden_levels, wdcgan_discriminator, wdcgan_generator


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("depth", [2, 4, 8, 16, 32, 64])
def test_parameters_follow_the_paper(depth):
    # Aguinaldo et al. 2019, table 1: 28,351 for d = 2, …; P(d) = 672 d^2 + 12831 d + 1 for 64x64 and one channel.
    assert parameters(wdcgan_generator(str(depth), 64, 1)) == 672 * depth**2 + 12831 * depth + 1
    assert parameters(wdcgan_generator(str(depth), 64, 3)) == 672 * depth**2 + 12831 * depth + 1 + 32 * depth + 2


def test_conformance_table(shared_conformance):
    with (shared_conformance / "wdcgan_params.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 7
    for row in rows:
        with torch.device("meta"):
            generator = wdcgan_generator(row["depth"], 64, 1)
        assert parameters(generator) == int(row["parameters"])


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_range(size, channels):
    images = wdcgan_generator("2", size, channels)(torch.randn(3, 100))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert wdcgan_discriminator(2, size, channels, normalise=True)(images).shape == (3,)


def test_every_parameter_gets_a_gradient():
    generator = wdcgan_generator("2_3_4", 32, 1)
    generator(torch.randn(4, 100)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in generator.parameters())


def test_spec_text_round_trip():
    assert str(WdcganSpec.parse("16", 4)) == "16"
    assert str(WdcganSpec.parse("16_8_16_4", 4)) == "16_8_16_4"
    assert WdcganSpec.parse("2", 4).widths == (16, 8, 4, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [("0", "at least 1"), ("8_8", "has 2 depths; this generator takes 1 or 4"), ("eight", "whole numbers")],
)
def test_bad_specs_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        WdcganSpec.parse(text, 4)


def test_bad_size_and_builder_are_refused():
    with pytest.raises(ValueError, match="found 28"):
        hidden_levels(28)
    with pytest.raises(ValueError, match="unknown builder 'nothing'; known: classifier"):
        Blueprint("nothing").build()
