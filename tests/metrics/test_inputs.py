import numpy as np
import pytest
import torch

from ganpress.metrics.feature_inputs import as_matrix, as_tensor


def features(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)


@pytest.mark.parametrize(("dtype", "expected"), [("f4", torch.float32), ("f8", torch.float64), ("f2", torch.float32)])
def test_precision_follows_the_features(dtype, expected):
    assert as_tensor(features(5).astype(dtype), "x").dtype == expected


def test_arrays_that_are_read_only_are_taken():
    array = features(5)
    array.flags.writeable = False
    assert torch.equal(as_tensor(array, "x"), torch.from_numpy(array.copy()))


@pytest.mark.parametrize("array", [features(5)[::-1], features(5)[:, ::2], features(5).astype(">f4"), features(5).T])
def test_arrays_in_any_order_are_taken(array):
    assert np.array_equal(as_tensor(array, "x").numpy(), array)


def test_bfloat16_is_taken():
    narrow = torch.from_numpy(features(5)).bfloat16()
    assert torch.equal(as_tensor(narrow, "x"), narrow.float())
    assert np.array_equal(as_matrix(narrow, "x"), narrow.float().numpy())


def test_what_torch_can_read_is_not_copied():
    array = features(5)
    assert as_tensor(array, "x").data_ptr() == array.ctypes.data
