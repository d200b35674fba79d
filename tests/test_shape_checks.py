"""Wrong shapes are refused while the tests run, in every module with shapes in its signatures."""

import sys

import numpy as np
import pytest
import torch
from jaxtyping import Float, TypeCheckError, UInt8
from numpy.typing import NDArray

from models.judge_networks import classifier
from models.quantized import ActivationQuantizer
from models.wdcgan import wdcgan_generator
from tests.shape_checks import CHECKED, checked, has_array


def test_latents_of_four_dimensions_are_refused():
    with pytest.raises(TypeCheckError, match=r"WdcganGenerator\.forward"):
        wdcgan_generator("1", 8, 1)(torch.zeros(2, 100, 1, 1))


def test_a_wrong_type_of_numbers_is_refused():
    with pytest.raises(TypeCheckError, match=r"ActivationQuantizer\.encode"):
        ActivationQuantizer(8).encode(torch.zeros(3, dtype=torch.int64))


def test_a_result_of_another_shape_is_refused(monkeypatch):
    judge = classifier(1, 3, 2, 4)
    monkeypatch.setattr(judge, "head", torch.nn.Unflatten(1, (2, 2)))
    with pytest.raises(TypeCheckError, match=r"the return value of models\.judge_networks\.Classifier\.forward"):
        judge(torch.zeros(2, 1, 16, 16))


def test_arguments_are_compared_with_each_other():
    @checked
    def add(one: Float[NDArray[np.float32], "n f"], other: float) -> None: ...

    add(np.zeros((2, 3), np.float32), "no number, and no array either")
    with pytest.raises(Exception, match="type hint"):
        add(np.zeros((2, 3, 4), np.float32), 1.0)


def test_what_holds_no_array_is_left_alone():
    def add(one: int, other: list[str]) -> int: ...

    assert checked(add) is add
    assert has_array(dict[str, UInt8[torch.Tensor, "n c"] | None])
    assert not has_array(tuple[int, ...] | torch.Tensor | NDArray[np.uint8] | None)


def test_every_module_with_shapes_was_imported_under_the_hook():
    modules = {name: one for name, one in sys.modules.items() if f"{name}.".startswith(tuple(f"{p}." for p in CHECKED))}
    loaders = {name: type(one.__spec__.loader).__module__ for name, one in modules.items() if one.__spec__}
    unchecked = [name for name, loader in loaders.items() if not loader.startswith("jaxtyping")]
    assert not unchecked
    assert "models.wdcgan" in loaders
