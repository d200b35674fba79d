"""Inputs and outputs that do not fit a generator are reported in one line."""

import re

import pytest
import torch
from torch import nn

from ganpress.errors import ConfigError
from ganpress.structure.input_checks import check_generator, check_inputs

MODEL = nn.Conv2d(3, 2, 1)


def test_one_input_is_run_whatever_their_number():
    images = check_generator(MODEL, torch.ones(5, 3, 4, 4))
    assert images.shape == (1, 2, 4, 4)
    assert not images.requires_grad


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3,), ()])
def test_no_inputs(shape):
    found = f"calibration inputs must be (N, …) with N >= 1, found {tuple(shape)}; add data"
    with pytest.raises(ConfigError, match=re.escape(found)):
        check_inputs(MODEL, torch.ones(shape), "calibration inputs")


@pytest.mark.parametrize(("name", "said"), [(None, "Conv2d"), ("student/d2", "student/d2")])
def test_inputs_of_another_shape(name, said):
    with pytest.raises(ConfigError) as refused:
        check_inputs(MODEL, torch.ones(5, 4, 4, 4), name=name)
    assert str(refused.value).startswith(f"inputs (5, 4, 4, 4) do not fit {said}: ")
    assert str(refused.value).endswith("; prepare the data that it was trained on, or train it on this data")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_are_not_finite(value):
    def generate(x):
        return x * value

    check_inputs(generate, torch.ones(1, 2))
    with pytest.raises(ConfigError, match="^teacher draws NaN or infinite pixels: it has diverged; train it again$"):
        check_generator(generate, torch.ones(1, 2), name="teacher")
