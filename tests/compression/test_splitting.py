"""Outlier channel splitting: the same layer in floats, a smaller quantization step."""

import pytest
import torch
from torch.nn import functional

from ganpress.compression.preparation.outlier_splitting import split_outliers
from ganpress.compression.rounding.weight_codes import code_book
from ganpress.errors import ConfigError


@pytest.fixture
def weight():
    weight = torch.randn(6, 10, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[2, 4, 1, 1], weight[3, 7, 0, 0] = 12, -9
    return weight


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("step", [0.0, 0.25])
def test_split_layer_is_the_layer(weight, share, step):
    x = torch.randn(2, 10, 7, 7, generator=torch.Generator().manual_seed(1)).double()
    split = split_outliers(weight.double(), share, step)
    assert split.weight.shape[1] == len(split.channels) == 10 + round(10 * share)
    found = functional.conv2d(x[:, split.channels], split.weight)
    torch.testing.assert_close(found, functional.conv2d(x, weight.double()), rtol=0, atol=1e-12)


def test_the_largest_weight_is_halved_until_others_are_larger(weight):
    assert split_outliers(weight, 0.1).channels.tolist() == [*range(10), 4]
    assert split_outliers(weight, 0.2).channels.tolist() == [*range(10), 4, 7]
    assert float(split_outliers(weight, 0.2).weight.abs().max()) == 6
    assert split_outliers(weight, 0.3).channels.tolist()[:12] == [*range(10), 4, 7]


def test_rounding_after_splitting_is_nearer(weight):
    split = split_outliers(weight, 0.2)
    errors = []
    for one in (weight, split.weight):
        book = code_book(one, 4, per_channel=False)
        real = book.round(one) * book.scale[:, None, None, None]
        summed = torch.zeros_like(weight).index_add(1, torch.arange(10) if one is weight else split.channels, real)
        errors.append(float((summed - weight).square().mean()))
    assert errors[1] < 0.6 * errors[0]


def test_halves_apart_by_half_a_step_round_to_the_nearest_sum(weight):
    step = 0.3
    split = split_outliers(weight, 0.1, step)
    halves = split.weight[:, split.channels == 4]
    summed = (torch.round(halves / step) * step).sum(1)
    assert float((summed - weight[:, 4]).abs().max()) <= step / 2 + 1e-5


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_impossible_shares_are_refused(weight, share):
    with pytest.raises(ConfigError, match="share of split channels is at least 0 and below 1, found"):
        split_outliers(weight, share)
