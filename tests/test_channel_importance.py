"""Channels in order of importance: the order itself, unchanged pictures, and that important channels are kept."""

import copy

import pytest
import torch
from torch import nn

from ganpress.metrics.fidelity import compare_outputs
from ganpress.structure.channel_groups import find_groups
from ganpress.structure.channel_importance import put_in_order_, trial_inputs, unit_scores
from models.thinning import ChannelGroup, Slot, permute_, thin_


class Shuffled(nn.Module):
    """A pixel shuffle, a residual sum, a depthwise convolution and a normalisation; some channels hardly matter."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.depthwise, self.point = nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 12, 1)
        self.up, self.slopes, self.last = nn.Conv2d(12, 32, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 3, 3, padding=1)
        with torch.no_grad():
            self.last.weight[:, :4] *= 0.01
            self.up.weight[:, ::2] *= 0.05

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = x + self.point(self.depthwise(x))
        return torch.tanh(self.last(self.slopes(nn.functional.pixel_shuffle(self.up(x), 2))))


def test_the_score_of_a_unit_is_what_the_output_loses_without_it_to_first_order():
    network = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 5, bias=False)).eval()
    group = ChannelGroup("0", 3, (Slot("0", "out", 0, 1), Slot("1", "in", 0, 1)))
    x = torch.randn(4000, 4, generator=torch.Generator().manual_seed(1))
    scores = unit_scores(network, x, [group])["0"]
    hidden = network[0](x)
    # Linear: the change without unit u is h_u w_u, whose squared length random signs measure without bias.
    expected = (hidden.square().mean(0) * network[1].weight.square().sum(0)).detach()
    assert torch.allclose(scores / scores.sum(), expected / expected.sum(), atol=0.03)
    assert network[0].weight.grad is None


def test_a_network_in_order_draws_the_same_and_keeps_what_matters():
    network = Shuffled().eval()
    example = torch.zeros(1, 3, 16, 16)
    groups = find_groups(network, example, True).groups
    assert len(groups) >= 2
    ordered = copy.deepcopy(network)
    assert len(put_in_order_(ordered, trial_inputs(example), groups)) == len(groups)
    x = trial_inputs(example, seed=5)[:8]
    assert compare_outputs(network, ordered, x).snr_db > 100
    decibels = []
    for one in (network, ordered):
        thin = copy.deepcopy(one)
        thin_(thin, groups, [50] * len(groups))
        decibels.append(compare_outputs(network, thin, x).snr_db)
    assert decibels[1] > decibels[0] + 5


def test_channels_that_are_told_apart_by_their_place_keep_their_order():
    class Placed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)
            self.register_buffer("ramp", torch.linspace(0.1, 2, 8).reshape(1, 8, 1, 1))

        def forward(self, x):
            return self.b(self.a(x) * self.ramp)

    network = Placed().eval()
    group = ChannelGroup("a", 8, (Slot("a", "out", 0, 1), Slot("b", "in", 0, 1)))
    before = {name: one.clone() for name, one in network.state_dict().items()}
    assert put_in_order_(network, torch.randn(8, 3, 4, 4), [group]) == []
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())


def test_a_permutation_and_its_inverse_leave_a_network_as_it_was():
    network = Shuffled().eval()
    groups = find_groups(network, torch.zeros(1, 3, 16, 16), True).groups
    before = {name: one.clone() for name, one in network.state_dict().items()}
    for group in groups:
        order = torch.randperm(group.units)
        permute_(network, group, order)
        permute_(network, group, order.argsort())
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())


@pytest.mark.parametrize("shape", [(1, 100), (1, 3, 64, 64), (1, 1, 7, 300)])
def test_trial_inputs_look_like_inputs(shape):
    x = trial_inputs(torch.zeros(shape))
    assert x.shape[1:] == shape[1:]
    assert 4 <= len(x) <= 256
    assert 0.3 < float(x.std()) < 1.1
    assert torch.equal(x, trial_inputs(torch.zeros(shape)))
