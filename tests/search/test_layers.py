import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.errors import ConfigError
from ganpress.performance.generator_cost import generator_cost
from ganpress.search.layer_runs import LayerNetwork, trace_layers
from models.builders import generator_blueprint
from models.families import find_family
from models.family import Canvas

NAMES = {
    "wdcgan:2": Canvas(1, 16, 16),
    "mobile_resnet_9blocks:ngf=2": Canvas(1, 16, 16, 3),
    "edge_resnet_9blocks:ngf=2": Canvas(1, 16, 16, 3),
    "mobile_spade:ngf=1": Canvas(3, 64, 128, 4),
    "unet_32:ngf=2": Canvas(3, 32, 32, 3),
}


def traced(build, *shape):
    return trace_layers(build, shape)


def names(layers):
    return [[call.name for call in layer.calls] for layer in layers]


class Block(nn.Module):
    """What runtimes fuse and what they do not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.bias = nn.Parameter(torch.zeros(4, 1, 1))
        self.second = nn.Conv2d(4, 4, 3)
        self.instance_norm = nn.InstanceNorm2d(4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = functional.relu(self.norm(self.conv(functional.pad(x, (1, 1, 1, 1)))) + self.bias)
        y = self.dropout(self.instance_norm(self.second(functional.pad(x, (1, 1, 1, 1), mode="reflect"))))
        return torch.tanh(x + y)


def test_a_product_takes_what_runs_with_it_into_its_layer():
    assert names(traced(Block, 1, 3, 8, 8)) == [
        ["pad", "conv2d", "batch_norm", "add", "relu"],
        ["pad"],  # reflections are no number of a convolution
        ["conv2d"],  # instance normalisation needs the whole result first
        ["instance_norm"],
        ["add"],  # both operands are computed
        ["tanh"],
    ]


def test_a_result_that_two_read_ends_the_layer():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = self.conv(x)
            return torch.relu(x) + x

    assert names(traced(Fork, 1, 3, 4, 4)) == [["conv2d"], ["relu"], ["add"]]


def test_what_does_not_depend_on_the_input_and_what_only_looks_differently_is_no_layer():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(12, 4)
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return self.linear(x.reshape(len(x), -1)) * torch.exp(self.scale)

    assert names(traced(Views, 1, 3, 2, 2)) == [["linear", "mul"]]


def test_equal_layers_have_equal_keys_and_others_not():
    def stack():
        first, second = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
        return nn.Sequential(first, second, nn.Conv2d(3, 3, 3), nn.Conv2d(3, 4, 1))

    keys = [layer.key for layer in traced(stack, 1, 3, 8, 8)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_layers_of_a_generator_have_all_its_multiplications_and_run_alone(name):
    canvas = NAMES[name]
    blueprint = generator_blueprint(name, canvas)
    shape = find_family(name)[1].input_shape(canvas)
    layers = trace_layers(blueprint.build, shape)
    whole = generator_cost(blueprint.build(), torch.zeros(shape)).macs_exact
    parts = {layer.key: LayerNetwork(layer, torch.Generator().manual_seed(0)).eval() for layer in layers}
    macs = {layer.key: generator_cost(parts[layer.key], torch.zeros(layer.input_shape)).macs_exact for layer in layers}
    assert sum(macs[layer.key] for layer in layers) == whole
    for layer in layers:
        result = parts[layer.key](torch.rand(3, *layer.input_shape[1:]))
        assert len(result) == 3
        assert result.numel() == 3
        assert torch.isfinite(result).all()


def test_a_network_that_needs_numbers_is_refused():
    class Asks(nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(ConfigError, match=r"layers cannot be listed: .*; set search\.latency to 'measured'"):
        traced(Asks, 1, 3, 4, 4)
