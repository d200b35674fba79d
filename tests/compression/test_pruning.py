"""Magnitude pruning."""

import pytest
import torch
from torch import nn

from ganpress.compression.pruning.magnitude_pruning import measure_sparsity, prunable_weights, prune_
from ganpress.errors import ConfigError


@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.5, 0.93])
def test_every_layer_loses_exactly_its_share_of_smallest_weights(trained_like, sparsity):
    model = trained_like("3_2", 16, 3)
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    prune_(model, sparsity)
    for layer in measure_sparsity(model):
        assert layer.zeros == round(sparsity * layer.weights)
        weight = prunable_weights(model)[layer.layer]
        kept = weight != 0
        assert torch.equal(weight[kept], before[layer.layer][kept])
        if layer.zeros > 0:
            assert before[layer.layer][~kept].abs().max() <= before[layer.layer][kept].abs().min()


def test_equal_magnitudes_are_pruned_in_order():
    layer = nn.Linear(4, 1, bias=False)
    nn.init.ones_(layer.weight)
    prune_(layer, 0.5)
    assert layer.weight.tolist() == [[0, 0, 1, 1]]


def test_biases_and_statistics_stay(trained_like):
    model = trained_like("2", 16, 1)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.endswith("weight")}
    prune_(model, 0.9)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in kept.items())


def test_images_keep_their_shape(trained_like):
    model = trained_like("2", 16, 3)
    prune_(model, 0.9)
    assert model(torch.randn(2, 100)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_impossible_share_is_refused(sparsity):
    with pytest.raises(ConfigError, match="sparsity must be at least 0 and below 1, found"):
        prune_(nn.Linear(2, 2), sparsity)


def test_nothing_to_prune_is_refused():
    with pytest.raises(ConfigError, match="ReLU has no convolution or linear layer to prune"):
        prune_(nn.ReLU(), 0.5)
