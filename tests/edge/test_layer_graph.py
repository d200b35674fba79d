"""Layers that are drawn node by node compute in ONNX Runtime what they compute in torch."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.edge.forms.written_form import WrittenForm
from ganpress.edge.graphs.graph_writer import DrawnModule
from ganpress.edge.graphs.layer_forms import FORMS
from ganpress.edge.graphs.layer_graph import drawn, layer_graph
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.registries import TARGETS
from ganpress.search.layer_runs import LayerNetwork, trace_layers
from models.builders import generator_blueprint
from models.families import find_family
from models.family import Canvas

FAMILIES = {
    "wdcgan:2": Canvas(1, 16, 16),
    "mobile_resnet_9blocks:ngf=2": Canvas(3, 16, 16, 3),
    "edge_resnet_9blocks:ngf=2": Canvas(3, 16, 16, 3),
    "unet_32:ngf=2": Canvas(3, 32, 32, 3),
}


class Calls(nn.Module):
    """Functions in a row, as a network."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, x):
        for function in self.functions:
            x = function(x)
        return x


def channels(x):
    return torch.rand(x.shape[1])


FUNCTIONS = {
    "conv2d": [
        lambda x: functional.conv2d(
            x, torch.rand(4, 2, 3, 3), torch.rand(4), padding=(0, 1), dilation=(1, 2), groups=2
        ),
        lambda x: functional.conv2d(x, torch.rand(3, 4, 2, 3), padding="same"),
        lambda x: functional.conv2d(x, torch.rand(3, 4, 3, 3), padding="valid", stride=2),
    ],
    "conv_transpose2d": [
        lambda x: functional.conv_transpose2d(
            x, torch.rand(4, 1, 3, 3), None, stride=2, padding=1, output_padding=1, groups=2
        )
    ],
    "linear": [lambda x: functional.linear(x.flatten(1), torch.rand(3, 144), torch.rand(3))],
    "batch_norm": [
        lambda x: functional.batch_norm(x, channels(x), channels(x), eps=0.1),
        lambda x: functional.batch_norm(x, channels(x), channels(x), channels(x), channels(x)),
    ],
    "instance_norm": [
        lambda x: functional.instance_norm(x, eps=0.1),
        lambda x: functional.instance_norm(x, weight=channels(x), bias=channels(x)),
    ],
    "pad": [
        lambda x: functional.pad(x, (1, 0, 2, 3), value=0.5),
        *(lambda x, mode=mode: functional.pad(x, (1, 0, 2, 3), mode) for mode in ("reflect", "replicate", "circular")),
    ],
    "interpolate": [
        lambda x: functional.interpolate(x, size=(9, 3)),
        lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    ],
    "pixel_shuffle": [lambda x: functional.pixel_shuffle(x, 2)],
    "getitem": [lambda x: x[:, :, 1:-1, 2:]],
    "cat": [lambda x: torch.cat([x, x], dim=1)],
    "adaptive_avg_pool2d": [lambda x: functional.adaptive_avg_pool2d(x, 1)],
    "add": [lambda x: x + torch.rand(4, 1, 1)],
    "sub": [lambda x: x - 0.25],
    "mul": [lambda x: x * x],
    "div": [lambda x: x / 3],
    "relu": [torch.relu],
    "tanh": [torch.tanh],
    "sigmoid": [torch.sigmoid],
    "hardswish": [functional.hardswish],
    "hardsigmoid": [functional.hardsigmoid],
    "leaky_relu": [lambda x: functional.leaky_relu(x, 0.3)],
    "prelu": [lambda x: functional.prelu(x, channels(x)), lambda x: functional.prelu(x, torch.rand(1))],
    "clamp": [lambda x: torch.clamp(x, max=0.2), lambda x: x.clamp(-0.1, 0.1)],
}


def layers_of(build, shape):
    return list({layer.key: layer for layer in trace_layers(build, shape)}.values())


def network_of(layer):
    return LayerNetwork(layer, torch.Generator().manual_seed(0)).eval()


def check(layer, folder):
    """The drawn layer against torch, on the shape that it runs on."""
    network = network_of(layer)
    x = torch.rand(layer.input_shape, generator=torch.Generator().manual_seed(1)) - 0.5
    path = folder / "layer.onnx"
    path.write_bytes(layer_graph(network, x))
    with torch.no_grad():
        torch.testing.assert_close(OnnxGenerator(path, 1)(x), network(x), rtol=1e-4, atol=1e-5, msg=layer.key)


@pytest.mark.parametrize("name", sorted(FORMS.keys() - {"concat", "truediv"}))  # other names of `cat` and `div`
def test_each_form_computes_what_torch_computes(tmp_path, name):
    for function in FUNCTIONS[name]:
        (layer,) = layers_of(partial(Calls, function), (1, 4, 6, 6))
        assert [call.name for call in layer.calls] == [name]
        check(layer, tmp_path)


def test_a_view_between_fused_calls_is_kept(tmp_path):
    def product(x):
        return functional.linear(x, torch.rand(8, 3)).reshape(-1, 2, 2, 2)

    (layer,) = layers_of(lambda: Calls(product, lambda x: functional.batch_norm(x, channels(x), channels(x))), (1, 3))
    assert [call.name for call in layer.calls] == ["linear", "batch_norm"]
    check(layer, tmp_path)


@pytest.mark.parametrize("number_type", ["float32", "int8"])
@pytest.mark.parametrize("name", FAMILIES)
def test_all_layers_of_generators_are_drawn(tmp_path, name, number_type):
    """As the runtime gets them: transposed convolutions in its form, narrow outputs in blocks."""
    shape = find_family(name)[1].input_shape(FAMILIES[name])
    blueprint, written = generator_blueprint(name, FAMILIES[name]), WrittenForm(TARGETS["onnx"], number_type)
    layers = layers_of(lambda: written(blueprint.build().eval(), torch.empty(shape)), shape)
    assert (number_type == "int8") <= ("conv_transpose2d" not in {call.name for one in layers for call in one.calls})
    for layer in layers:
        check(layer, tmp_path)


def test_what_has_no_form_is_left_to_torch_onnx():
    odd = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Softmax(dim=1))
    first, second = layers_of(lambda: odd, (1, 3, 4, 4))
    assert isinstance(drawn(network_of(first), torch.rand(first.input_shape)), DrawnModule)
    network = network_of(second)
    assert drawn(network, torch.rand(second.input_shape)) is network


@pytest.mark.parametrize(
    "run",
    [
        lambda x: functional.interpolate(x, size=(3, 3), mode="bicubic"),
        lambda x: functional.interpolate(x, size=(8, 8), mode="bilinear", align_corners=True),
        lambda x: functional.adaptive_avg_pool2d(x, 2),
        lambda x: x[:, :, ::2],
        lambda x: torch.add(x, x, alpha=2),
    ],
)
def test_other_ways_to_call_are_not_drawn_wrongly(run):
    (layer,) = layers_of(lambda: Calls(run), (1, 4, 4, 4))
    assert not isinstance(drawn(network_of(layer), torch.rand(layer.input_shape)), DrawnModule)
