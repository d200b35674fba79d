"""Which channels of a network can be removed together, and why others cannot be."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from ganpress.imported.trials import try_groups
from ganpress.structure.channel_groups import find_groups
from models.thinning import ChannelGroup, Slot, kept_channels, kept_indices, thin_
from models.wdcgan import wdcgan_generator

IMAGE, LATENT = (1, 3, 8, 8), (1, 10)


@pytest.fixture(autouse=True)
def odd(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent / "foreign"), *sys.path])
    return importlib.import_module("odd_networks")


def _found(network, shape=IMAGE):
    example = torch.zeros(shape)
    return try_groups(network, example, find_groups(network, example))


def _described(found):
    """Group names with units, and the slots that are not simply all channels of a layer."""
    return {
        group.name: (
            group.units,
            {(s.layer, s.side, s.offset, s.block) for s in group.slots if s.offset or s.block > 1},
        )
        for group in found.groups
    }


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("concatenated_input", {"a": (8, {("c", "in", 3, 1)}), "b": (6, {("c", "in", 11, 1)})}),
        ("concatenated_with_itself", {"a": (8, {("c", "in", 8, 1)})}),
        ("shuffled_then_concatenated", {"a": (8, {("c", "in", 4, 1)}), "b": (4, {("b", "out", 0, 4)})}),
        ("grouped", {"a": (2, {("a", "out", 0, 8), ("b", "out", 0, 8), ("n", "out", 0, 8), ("c", "in", 0, 8)})}),
        ("flattened", {"a": (5, {("d", "in", 0, 64)})}),
        ("gated", {"a": (8, {("a", "out", 8, 1)})}),
        ("gated_linear_unit", {"a": (8, {("a", "out", 8, 1), ("n", "out", 8, 1)})}),
        ("normalised_over_channels", {"a": (16, set())}),
        ("channel_shuffle", {"b": (8, {("c", "in", 0, 4)})}),
        ("spatial_attention", {"a": (16, set())}),
        ("global_residual", {"a": (8, set())}),
        ("used_twice", {"a": (8, set())}),
        ("transposed_depthwise", {"a": (8, set())}),
    ],
)
def test_groups_of_awkward_networks(odd, name, groups):
    torch.manual_seed(0)
    assert _described(_found(getattr(odd, name)())) == groups


def test_a_parameter_that_is_broadcast_is_followed():
    network = wdcgan_generator("2", 16, 1)
    reason = "its channels are tied to the parameter 'blocks.0.bias', which belongs to no standard layer"
    assert reason in [refusal.reason for refusal in find_groups(network, torch.zeros(1, 100)).refused]
    followed = find_groups(network, torch.zeros(1, 100), parameters=True)
    assert Slot("blocks.0.bias", "out", 0, 1) in followed.groups[0].slots


@torch.no_grad()
def test_a_bare_parameter_is_thinned_with_its_channels(odd):
    network, example = odd.bare_parameter().eval(), torch.zeros(IMAGE)
    found = try_groups(network, example, find_groups(network, example, parameters=True))
    assert Slot("scale", "out", 0, 1) in found.groups[0].slots
    network.scale.copy_(torch.arange(16.0).reshape(1, 16, 1, 1))
    thin_(network, found.groups, (25,))
    assert network.scale.flatten().tolist() == [0, 1, 2, 3]
    assert network(torch.rand(IMAGE)).shape == IMAGE


def test_groups_of_a_network_of_latents(odd):
    assert _described(_found(odd.from_latents(), LATENT)) == {"1": (8, set())}


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("concatenated_input", "c", "its channels are those of the output"),
        ("global_residual", "b", "its channels are tied to those of the input"),
        ("grouped_unequally", "b", "its channels meet the grouped convolution 'b', which puts out more or fewer"),
        ("hard_coded", "a", "the network does not run without half of its channels (RuntimeError: shape '[-1, 8, 64]'"),
        ("softmax_over_channels", "a", "an operation without weights mixes its channels"),
        ("channel_shuffle", "a", "an operation without weights mixes its channels"),
        ("spatial_attention", "g", "it has a single channel"),
        ("bare_parameter", "a", "its channels are tied to the parameter 'scale', which belongs to no standard layer"),
        ("spectral", "a", "layer 'b' is parametrised (parametrizations.weight.0._u"),
        ("layer_norm", "a", "which cannot be followed"),
        ("detached", "a", "no gradient reaches it from the output"),
    ],
)
def test_what_cannot_be_thinned_is_named_with_its_reason(odd, name, layer, reason):
    found = _found(getattr(odd, name)())
    reasons = {refusal.layer: refusal.reason for refusal in found.refused}
    assert reason in reasons[layer]
    assert layer not in {group.name for group in found.groups}


def test_finding_groups_changes_nothing(odd):
    network = odd.grouped()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    _found(network)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training


GROUPS = (
    ChannelGroup("a", 8, (Slot("a", "out", 0, 1), Slot("c", "in", 3, 1))),
    ChannelGroup("b", 6, (Slot("b", "out", 0, 1), Slot("c", "in", 11, 1))),
)


def test_kept_indices_of_nested_widths_compose(odd):
    """Cutting 100 -> 75 -> 25 percent keeps what 100 -> 25 keeps."""
    wide, middle, narrow = (100, 100), (75, 50), (25, 50)
    network = odd.concatenated_input()
    weight = torch.arange(17)
    steps = [kept_indices(network, GROUPS, middle, wide), kept_indices(network, GROUPS, narrow, middle)]
    twice = weight[steps[0]["c.weight"][1]][steps[1]["c.weight"][1]]
    assert torch.equal(twice, weight[kept_indices(network, GROUPS, narrow, wide)["c.weight"][1]])
    assert twice.tolist() == [0, 1, 2, 3, 4, 11, 12, 13]


def test_thinning_by_nothing_is_nothing(odd):
    network = odd.concatenated_input()
    before = network.state_dict()
    thin_(network, GROUPS, (100, 100))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("percent", "kept"), [(100, 7), (50, 4), (25, 2), (1, 1)])
def test_percent_is_rounded_to_whole_units_and_one_stays(percent, kept):
    assert ChannelGroup("a", 7, ()).kept_units(percent) == kept


def test_percent_outside_is_refused(odd):
    with pytest.raises(ValueError, match="keeps 1 to 100 percent of its channels, found 101 for a"):
        kept_channels(odd.concatenated_input(), GROUPS, (101, 50))


def test_wrong_number_of_percentages_is_refused(odd):
    with pytest.raises(ValueError, match="has 2 channel groups, found a spec of 3 numbers"):
        kept_channels(odd.concatenated_input(), GROUPS, (50, 50, 50))
