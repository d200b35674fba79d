import pytest
import torch
from torch import optim

from ganpress.training.schedule import LinearDecay


def rates(decay_fraction, shown, total=100):
    optimizer = optim.SGD([torch.zeros(1)], lr=7.0)
    schedule = LinearDecay(optimizer, 0.2, total, decay_fraction)
    found = []
    for images in shown:
        schedule.set(images)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_linear_decay_is_constant_then_falls_to_zero():
    assert rates(0.5, (0, 50, 75, 90, 100, 130)) == pytest.approx([0.2, 0.2, 0.1, 0.04, 0, 0])
    assert rates(1.0, (0, 25, 100)) == pytest.approx([0.2, 0.15, 0])


def test_without_decay_the_rate_stays():
    assert rates(0.0, (0, 99, 100)) == [0.2] * 3


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match=r"between 0 and 1, found 1\.5"):
        rates(1.5, ())
