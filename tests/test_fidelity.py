"""The distance between two generators."""

import math

import pytest
import torch

from ganpress.metrics.fidelity import BATCH_SIZE, compare_outputs


def images(z):
    return torch.tanh(z)[:, None, None, :]


def test_a_generator_equals_itself():
    found = compare_outputs(images, images, torch.randn(5, 7))
    assert found.max_abs_error == 0
    assert found.snr_db is None


def test_a_tenth_of_the_amplitude_is_20_db():
    z = torch.randn(BATCH_SIZE + 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = compare_outputs(images, lambda z: 1.1 * images(z), z)
    assert found.snr_db == pytest.approx(20)
    assert found.max_abs_error == pytest.approx(0.1 * float(images(z).abs().max()))


def test_result_does_not_depend_on_the_batches():
    z = torch.randn(2 * BATCH_SIZE, 7, generator=torch.Generator().manual_seed(0))
    late = compare_outputs(images, lambda z: images(z.round()), z)
    early = compare_outputs(images, lambda z: images(z.round()), z.flip(0))
    assert late.snr_db == pytest.approx(early.snr_db)


def test_not_a_number_is_an_infinite_error():
    assert compare_outputs(images, lambda z: images(z) * math.nan, torch.ones(1, 7)).max_abs_error == math.inf


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"images are \(2, 1, 1, 6\), the reference's \(2, 1, 1, 7\)"):
        compare_outputs(images, lambda z: images(z)[..., :6], torch.ones(2, 7))
